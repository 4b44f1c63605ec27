"""Which packages a checkpoint records, and what is said of those that are missing."""

from __future__ import annotations

import importlib
import platform
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


def test_a_shared_module_that_is_missing_is_an_error_that_helps(
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
    with (
        pytest.warns(PackagesWarning, match=r"lack what the old code uses: oldlib \(src/gait/net"),
        pytest.raises(CodeError, match="shares 'oldlib' with the application, which") as caught,
    ):
        codevault.load_policy(tmp_path / "best.mpt")
    # No package of that name is known to be the one that was meant.
    assert caught.value.hint == "export PYTHONPATH=FOLDER_WITH_oldlib"


def test_functions_and_plain_values_count_as_imports(project: Any, tmp_path: Path) -> None:
    project.commit(
        {
            "src/gait/__init__.py": "",
            "src/gait/net.py": "import torch\nfrom yaml import __version__ as spoken\n"
            "class Net(torch.nn.Linear):\n    def __init__(self):\n"
            "        import optree\n        super().__init__(4, 2)\n"
            "    def never(self):\n        import pandas_of_another_machine\n",
        }
    )
    net = project.load("gait.net")
    manifest = codevault.save_policy(tmp_path / "best.mpt", net.Net(), probe=torch.ones(1, 4))
    assert set(manifest.packages) == {"optree", "torch", "PyYAML"}


def test_a_namespace_belongs_to_the_distribution_that_has_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / "family" / name).mkdir(parents=True)
        (tmp_path / "family" / name / "__init__.py").write_text("")
        info = tmp_path / f"family_{name}-1.{len(name)}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: family-{name}\nVersion: 1.0\n")
        (info / "RECORD").write_text(f"family/{name}/__init__.py,,\n")
    (tmp_path / "user.py").write_text("import family.two\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    packages._distributions.cache_clear()
    try:
        user = importlib.import_module("user")
        assert packages.used_by([user]).keys() == {"torch", "family-two"}
    finally:
        packages._distributions.cache_clear()
        for name in ("user", "family", "family.two"):
            sys.modules.pop(name, None)


def test_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"numpy": "2.4.6", "torch": "2.13.0+cpu", "PyYAML": "6.0.3", "odd": "banana"}
    monkeypatch.setattr(packages, "installed", here.get)
    recorded = {"numpy": "1.26.4", "torch": "2.13.0", "PyYAML": "6.0.1", "odd": "1", "gone": "4"}
    python = platform.python_version()
    found = {v.package: v for v in packages.judge(python, recorded, {})}
    words = {name: verdict.word for name, verdict in found.items()}
    assert words == {
        "python": "same",
        "numpy": "suspect",
        "torch": "same",
        "PyYAML": "compatible",
        "odd": "compatible",
        "gone": "missing",
    }
    assert str(found["gone"]) == "gone 4 is not installed here"
    assert len(found["numpy"].why) == 1  # no name that was removed is used
    assert "float32 stays float32" in found["numpy"].why[0]
    uses = {"numpy.float_": "a.py:3", "numpy.floating": "a.py:4", "numpy.trapz.x": "b.py:1"}
    why = {v.package: v for v in packages.judge(python, recorded, uses)}["numpy"].why
    assert [line.partition(":")[0] for line in why] == ["2.0", "2.0", "2.4"]
    assert "numpy.float_ in a.py:3: ImportError or AttributeError" in why[0]
    assert "numpy.trapz.x in b.py:1" in why[2]
    unknown = {v.package: v for v in packages.judge(python, recorded, None)}["numpy"].why
    assert len(unknown) == 3


def test_packages_warning_has_all_causes_before_old_code_runs(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.commit(
        {
            "src/gait/__init__.py": "",
            "src/gait/net.py": "import numpy as np\nimport torch\nfrom shared_env import api\n"
            "print('old code runs')\n"
            "class Net(torch.nn.Linear):\n    def __init__(self): super().__init__(4, 2)\n"
            "    def later(self): return np.float_(api.Limits.high), api.old_name\n",
            "src/shared_env/__init__.py": "",
            "src/shared_env/api.py": "class Limits: high = 1\nold_name = 2\n",
        }
    )
    shared = ["shared_env"]
    net = project.load("gait.net").Net()
    with monkeypatch.context() as patch:
        patch.setattr(packages, "installed", {"numpy": "1.26.4", "torch": "2.13.0"}.get)
        codevault.save_policy(tmp_path / "a.mpt", net, probe=torch.ones(1, 4), shared=shared)
    project.write({"src/shared_env/api.py": "class Limits: high = 1\n"})
    project.load("shared_env.api")
    monkeypatch.setattr(packages, "installed", {"numpy": "2.4.6"}.get)
    with pytest.warns(PackagesWarning) as caught:
        policy = codevault.load_policy(tmp_path / "a.mpt")
    (text,) = [str(w.message) for w in caught]
    for part in (
        "a.mpt was saved with other packages",
        "numpy 1.26.4, here 2.4.6",
        "numpy.float_ in src/gait/net.py:7",
        "https://numpy.org/",
        "torch 2.13.0 is not installed here",
        "shared modules lack what the old code uses: shared_env.api.old_name (src/gait/net.py:7)",
        "do:  codevault show ",
    ):
        assert part in text
    assert len(codevault.provenance(policy).packages) == 3


def test_strict_mode_stops_before_old_code_runs(
    walker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    walker.commit({"src/walker/scale.py": "print('old code runs')\nSCALE = 2.0\n"})
    net = walker.load("walker.net")
    codevault.save_policy(tmp_path / "best.mpt", net.Walker(), probe=torch.ones(1, 4))
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(packages, "installed", lambda _: None)
        with pytest.raises(PackagesWarning, match=r"torch .* is not installed here"):
            codevault.load_policy(tmp_path / "best.mpt")  # warnings are errors here
    assert capsys.readouterr().out == ""
    codevault.load_policy(tmp_path / "best.mpt")
    assert "old code runs" in capsys.readouterr().out


def test_a_package_that_is_installed_meanwhile_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert packages.installed("late-walker") is None
    told = tmp_path / "late_walker-2.1.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: late-walker\nVersion: 2.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert packages.installed("late-walker") == "2.1"
