"""An exception of the code that a load runs: whose it was, and what to install."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

import codevault
from codevault.build import CurrentCode
from codevault.errors import CodeError
from codevault.raised import explained
from codevault.splint import Splint

if TYPE_CHECKING:
    from pathlib import Path

NET = """
    import torch

    class Net(torch.nn.Linear):
        def __init__(self):
            super().__init__(4, 2)
            {extra}
"""


def net(extra: str) -> dict[str, str]:
    return {"src/gait/net.py": NET.replace("{extra}", extra)}


def missing(packages: dict[str, str], name: str, code: Any = None) -> CodeError:
    """The error for a module that a load did not find."""
    manifest: Any = SimpleNamespace(
        modules=("gait.net",), packages=packages, left_out=(), digest="", repo=None, commit=None
    )
    splint: Any = object.__new__(Splint)
    object.__setattr__(
        splint, "snapshot", SimpleNamespace(digest="", commit=None, repo=None, shared=())
    )
    with pytest.raises(CodeError) as caught, explained(manifest, code or splint):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return caught.value


def test_a_distribution_of_the_modules_name_is_named_with_its_version() -> None:
    found = missing({"Old.Lib": "1.2", "elsewhere": "3", "torch": "2.0"}, "old_lib.inner")
    assert found.hint == "python -m pip install Old.Lib==1.2"


def test_else_all_that_was_recorded_and_is_missing_is_named() -> None:
    found = missing({"PyNothing": "1.2", "elsewhere": "3", "torch": "2.0"}, "nothing")
    assert found.hint == "python -m pip install PyNothing==1.2 elsewhere==3"


def test_no_stranger_is_named() -> None:
    """A package of the module's name on an index may be anybody's."""
    assert missing({"torch": "2.0"}, "nothing").hint.startswith("install the distribution that")


def test_a_module_that_current_code_lacks_was_not_forgotten_by_the_save() -> None:
    found = missing({}, "gait.other", CurrentCode(["gait"]))
    assert found.what == "the application's current code has no module 'gait.other'"
    assert missing({}, "gait.other").what.endswith("was not captured")


def test_a_note_names_the_code_that_raised(project: Any, tmp_path: Path) -> None:
    project.commit(net("pass"))
    path = tmp_path / "best.mpt"
    codevault.save_policy(path, project.load("gait.net").Net(), probe=torch.ones(1, 4))
    bad = project.commit(net("raise ValueError('no')"))
    given = codevault.load_code(project.top, bad)
    with pytest.raises(ValueError, match="no") as caught:
        codevault.load_policy(path, code=given)
    assert f"raised by the code that was given: commit {bad}" in caught.value.__notes__[0]


def test_a_note_names_the_checkpoints_own_code(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = project.commit(net("import os; assert 'BROKEN' not in os.environ"))
    path = tmp_path / "best.mpt"
    codevault.save_policy(path, project.load("gait.net").Net(), probe=torch.ones(1, 4))
    monkeypatch.setenv("BROKEN", "1")
    with pytest.raises(AssertionError) as caught:
        codevault.load_policy(path)
    assert f"raised by the checkpoint's own code: commit {head}" in caught.value.__notes__[0]
