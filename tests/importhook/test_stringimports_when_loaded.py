"""Libraries can be patched when they load, without being loaded for it."""

from __future__ import annotations

import importlib
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

import codevault_importhook as hook
from codevault_importhook import stringimports
from codevault_importhook.finder import SplintFinder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def finder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As after a mount."""
    monkeypatch.setattr(sys, "meta_path", [SplintFinder, *sys.meta_path])
    yield
    for name in [n for n in stringimports.waiting if n.startswith("lib_later")]:
        del stringimports.waiting[name]
    for name in [n for n in sys.modules if n.startswith("lib_later")]:
        del sys.modules[name]


def mark(name: str) -> Any:
    def patch(module: Any) -> None:
        module.marks = [*getattr(module, "marks", ()), name, module.VALUE]

    return patch


def test_when_loaded_at_once_for_a_loaded_module() -> None:
    seen: list[object] = []
    hook.when_loaded("json", seen.append)
    assert seen == [json]
    assert "json" not in stringimports.waiting


def test_when_loaded_later_once_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib_later").mkdir()
    (tmp_path / "lib_later" / "__init__.py").write_text("VALUE = 1\n")
    (tmp_path / "lib_later" / "inner.py").write_text("VALUE = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    hook.when_loaded("lib_later.inner", mark("first"))
    hook.when_loaded("lib_later.inner", mark("second"))
    assert "lib_later" not in sys.modules
    package = importlib.import_module("lib_later")
    assert not hasattr(package, "marks")
    inner = importlib.import_module("lib_later.inner")
    assert inner.marks == ["first", 2, "second", 2]
    importlib.reload(inner)
    assert inner.marks == ["first", 2, "second", 2]
    assert type(inner.__loader__).__name__ == "SourceFileLoader"


def test_when_loaded_waits_for_the_import_that_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lib_later.py"
    file.write_text("raise ValueError('not yet')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    hook.when_loaded("lib_later", mark("it"))
    with pytest.raises(ValueError, match="not yet"):
        importlib.import_module("lib_later")
    file.write_text("VALUE = 1\n")
    importlib.invalidate_caches()
    assert importlib.import_module("lib_later").marks == ["it", 1]
