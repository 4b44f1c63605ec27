"""Which packages a checkpoint records, and what is said of those that are missing."""

from __future__ import annotations

import importlib
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest
import torch

import codevault
from codevault import packages
from codevault.errors import CodeError, PackagesWarning

if TYPE_CHECKING:
    from pathlib import Path


def test_only_what_the_own_modules_use_is_recorded(project: Any, tmp_path: Path) -> None:
    project.commit(
        {
            "src/gait/__init__.py": "",
            "src/gait/net.py": "import numpy\nfrom torch import nn\nfrom yaml import safe_load\n"
            "class Net(nn.Linear):\n    def __init__(self): super().__init__(4, 2)\n",
        }
    )
    net = project.load("gait.net")
    manifest = codevault.save_policy(tmp_path / "best.mpt", net.Net(), probe=torch.ones(1, 4))
    names = ("numpy", "torch", "PyYAML")
    assert manifest.packages == {name: metadata.version(name) for name in names}
    again = codevault.save_policy(
        tmp_path / "again.mpt", codevault.load_policy(tmp_path / "best.mpt"), probe=torch.ones(1, 4)
    )
    assert again.packages == manifest.packages


def test_missing_package_is_an_error_that_helps(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/oldlib.py").write_text("X = 1")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    project.commit(
        {
            "src/gait/__init__.py": "",
            "src/gait/net.py": "import oldlib\nimport torch\nclass Net(torch.nn.Linear):\n"
            "    def __init__(self): super().__init__(4, 2)\n",
        }
    )
    net = project.load("gait.net")
    shared = ["oldlib"]
    codevault.save_policy(tmp_path / "best.mpt", net.Net(), probe=torch.ones(1, 4), shared=shared)
    monkeypatch.delitem(sys.modules, "oldlib")
    (tmp_path / "lib/oldlib.py").unlink()
    importlib.invalidate_caches()
    with pytest.raises(CodeError, match="needs the package 'oldlib'") as caught:
        codevault.load_policy(tmp_path / "best.mpt")
    assert caught.value.hint == "python -m pip install oldlib"


def test_findings_compare_names_as_packaging_does() -> None:
    recorded = {"PyYAML": "1", "pyyaml": "2", "typing_extensions": "3", "No.Such-Thing": "4"}
    assert packages.findings(recorded) == ("No.Such-Thing 4 is not installed here",)
    assert packages.compared({"torch": "0"})["torch"] == ("0", metadata.version("torch"))


def test_packages_warning(walker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codevault.save_policy(tmp_path / "best.mpt", walker.net.Walker(), probe=torch.ones(1, 4))
    monkeypatch.setattr(packages, "findings", lambda _: ("gone 1.0 is not installed here",))
    with pytest.warns(PackagesWarning, match=r"gone 1\.0"):
        policy = codevault.load_policy(tmp_path / "best.mpt")
    assert codevault.provenance(policy).packages == ("gone 1.0 is not installed here",)
