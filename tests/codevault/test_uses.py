"""Names that old code uses of others, read from its sources; and those that are not there."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch

import codevault
from codevault import preflight, uses
from codevault.errors import PackagesWarning
from codevault.uses import Use, names_in

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
import numpy as np, os.path
import torch.nn
from env.api import Config as C, spaces
from env import *
from . import sibling
from .sibling import thing
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from env.types import OnlyForReaders
try:
    from env.fast import step
except ImportError:
    step = None
try:
    import kept
finally:
    pass

@torch.no_grad()
def act(obs, spaces2, default=np.float_):
    import lazy.part
    hidden: torch.Hinted = np.linalg.norm(obs)
    return C.high, spaces.Box.shape, lazy.part.go, obs.mean

def hides(np):
    pass

class Net(torch.nn.Module):
    kind = C

def other(torch2):
    os = 3
    return os.path
"""


def test_names_are_read_from_the_source() -> None:
    found = {name: eager for name, (_, eager) in names_in(SOURCE).items()}
    assert found == {
        "numpy": True,
        "os.path": True,
        "torch.nn": True,
        "env.api.Config": True,
        "env.api.spaces": True,
        "env": True,
        "typing.TYPE_CHECKING": True,
        "kept": True,
        "torch.no_grad": True,
        "lazy.part": False,
        "torch.Hinted": False,
        "env.api.Config.high": False,
        "env.api.spaces.Box.shape": False,
        "lazy.part.go": False,
        "torch.nn.Module": True,
    }
    assert names_in("import a\na.b\ndef f():\n    a.c")["a.c"] == (4, False)
    assert names_in("def f():\n    import a\nimport a")["a"] == (3, True)


def test_what_modules_use_is_found_along_the_roots() -> None:
    class Files:
        files: ClassVar = {
            "a/pkg/__init__.py": "import one",
            "b/pkg/net.py": "import two\ndef f():\n    import one",
            "b/pkg.py": "import never",
            "c/broken.py": "import (",
            "c/data.txt": "",
        }
        paths: ClassVar = files.keys()

        def read(self, path: str) -> bytes:
            return self.files[path].encode()

    derived = uses.derive(Files())
    found = uses.uses_of(derived, ["pkg", "pkg.net", "broken", "gone"], ["a", "b", "."])
    assert found == {
        "one": Use("a/pkg/__init__.py", 1, True),
        "two": Use("b/pkg/net.py", 1, True),
    }


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = ModuleType("hostenv")
    module.__path__ = [str(tmp_path)]
    module.Config = type("Config", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hostenv", module)
    (tmp_path / "there.py").write_text("x = 1")
    (tmp_path / "raises.py").write_text("1 / 0")


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("name", "eager", "gone"),
    [
        ("hostenv.Config", True, ""),
        ("hostenv.Config.field_of_an_instance", True, ""),
        ("hostenv.Old", True, "hostenv.Old"),
        ("hostenv.Old.attribute", True, "hostenv.Old"),
        ("hostenv.there.x", True, ""),
        ("hostenv.there.y", True, "hostenv.there.y"),
        ("hostenv.there.y", False, ""),
        ("hostenv.raises.y", True, ""),
        ("nowhere_at_all.x", True, "nowhere_at_all"),
        ("nowhere_at_all.x", False, "nowhere_at_all"),
    ],
    ids=range(10),
)
def test_names_that_the_application_lacks(name: str, eager: bool, gone: str) -> None:
    sys.modules.pop("hostenv.there", None)
    used = {name: Use("a.py", 3, eager), "elsewhere.x": Use("a.py", 4, True)}
    found = preflight.lacking(used, ["hostenv", "nowhere_at_all"])
    assert found == ([f"{gone} (a.py:3)"] if gone else [])
    if not eager:
        assert "hostenv.there" not in sys.modules
    sys.modules.pop("hostenv.there", None)


def test_sources_are_read_once(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.commit(
        {
            "src/gait/__init__.py": "",
            "src/gait/net.py": "import torch\nfrom shared_env import LIMIT\n"
            "class Net(torch.nn.Linear):\n    def __init__(self): super().__init__(LIMIT, 2)\n",
            "src/shared_env.py": "LIMIT = 4\n",
        }
    )
    net = project.load("gait.net").Net()
    path = tmp_path / "best.mpt"
    codevault.save_policy(path, net, probe=torch.ones(1, 4), shared=["shared_env"])
    codevault.load_policy(path)

    def again(_: Any) -> bytes:
        raise AssertionError

    monkeypatch.setattr(uses, "derive", again)
    codevault.load_policy(path)
    del sys.modules["shared_env"].LIMIT
    with pytest.raises(PackagesWarning, match=r"shared_env\.LIMIT \(src/gait/net\.py:2\)"):
        codevault.load_policy(path)
