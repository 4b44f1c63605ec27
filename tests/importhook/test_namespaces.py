"""[namespaces] Packages over several folders merge as on a real path."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.importhook.pictures import NAME, beside_twins

if TYPE_CHECKING:
    from pathlib import Path

    from tests.importhook.conftest import Put

pytestmark = beside_twins


def load(name: str) -> Any:
    return importlib.import_module(f"{NAME}.{name}")


def test_namespaces_merge_over_two_roots(put: Put) -> None:
    put({"r1/pkg/in/a.py": "v = 1", "r2/pkg/in/b.py": "v = 2"}, roots=["r1", "r2"])
    assert (load("pkg.in.a").v, load("pkg.in.b").v) == (1, 2)
    assert [p[-6:] for p in load("pkg").__path__] == ["r1/pkg", "r2/pkg"]


def test_namespaces_the_first_root_wins(put: Put) -> None:
    put({"r1/pkg/a.py": "v = 1", "r2/pkg/a.py": "v = 2"}, roots=["r2", "r1"])
    assert load("pkg.a").v == 2


def test_namespaces_a_regular_package_of_a_later_root_beats_a_folder(put: Put) -> None:
    put({"r1/pkg/a.py": "v = 1", "r2/pkg/__init__.py": "v = 2"}, roots=["r1", "r2"])
    assert load("pkg").v == 2
    with pytest.raises(ModuleNotFoundError):
        load("pkg.a")


def test_namespaces_with_a_shared_portion(put: Put, host: Any) -> None:
    host({"pkg/shared/__init__.py": "v = 'host'", "pkg/a.py": "v = 'host'"})
    put(
        {
            "r1/pkg/a.py": "import pkg.shared\nv = pkg.shared.v",
            "r2/pkg/b.py": "from pkg import shared, a\nv = shared.v, a.v",
            "r2/pkg/shared/__init__.py": "raise RuntimeError('it ran')",
            "r2/pkg/shared/deep.py": "raise RuntimeError('it ran')",
        },
        roots=["r1", "r2"],
        shared=["pkg.shared"],
    )
    assert load("pkg.b").v == ("host", "host")
    assert load("pkg.shared") is sys.modules["pkg.shared"]
    with pytest.raises(ModuleNotFoundError, match=r"pkg\.shared\.deep"):
        load("pkg.shared.deep")


@pytest.mark.parametrize("name", ["__name__", "'pkg'"])
def test_namespaces_extend_path(name: str, put: Put, host: Any) -> None:
    host({"pkg/c.py": "v = 'host'"})
    text = f"from pkgutil import extend_path\n__path__ = extend_path(__path__, {name})\nv = 0"
    picture = {"r1/pkg/__init__.py": text, "r2/pkg/__init__.py": text}
    put({**picture, "r1/pkg/a.py": "v = 1", "r2/pkg/b.py": "v = 2"}, roots=["r1", "r2"])
    assert (load("pkg.a").v, load("pkg.b").v) == (1, 2)
    with pytest.raises(ModuleNotFoundError):
        load("pkg.c")


def test_namespaces_path_edits_inside_the_tree(put: Put) -> None:
    put(
        {
            "pkg/__init__.py": "import os\n__path__.append(os.path.join(__path__[0], 'more'))",
            "pkg/more/a.py": "import pkg.b\nv = pkg.b.v",
            "pkg/b.py": "v = 1",
        }
    )
    assert load("pkg.a").v == 1


def test_namespaces_path_edits_to_elsewhere_are_not_followed(put: Put, host: Any) -> None:
    folder = host({"a.py": "v = 'host'"})
    put({"pkg/__init__.py": f"__path__.append({folder.location('')!r})"})
    with pytest.raises(ModuleNotFoundError, match=r"pkg\.a"):
        load("pkg.a")


def test_namespaces_follow_a_change_of_their_parents_path(put: Put) -> None:
    put(
        {
            "pkg/__init__.py": "",
            "pkg/in/a.py": "v = 1",
            "more/in/b.py": "v = 2",
        }
    )
    assert load("pkg.in.a").v == 1
    package = load("pkg")
    package.__path__.append(package.__path__[0].removesuffix("pkg") + "more")
    assert load("pkg.in.b").v == 2


def test_namespaces_survive_invalidate_caches(put: Put) -> None:
    put({"r1/pkg/in/a.py": "v = 1", "r2/pkg/in/b.py": "v = 2"}, roots=["r1", "r2"])
    assert load("pkg.in.a").v == 1
    importlib.invalidate_caches()
    assert load("pkg.in.b").v == 2
    assert len(list(load("pkg.in").__path__)) == 2
    assert importlib.util.find_spec(f"{NAME}.pkg.in.c") is None


@pytest.mark.parametrize("inside", ["wandb/run.py", "wandb/notes.txt", "wandb/deep/run.py"])
def test_namespaces_a_stray_folder_hides_no_third_party_package(inside: str, put: Put) -> None:
    """`pytest` stands for any regular package of the host's site-packages."""
    put(
        {
            inside.replace("wandb", "pytest"): "",
            "pkg/a.py": "import pytest\nfrom pytest import raises\nimport importlib\n"
            "v = importlib.import_module('pytest')",
        }
    )
    assert load("pkg.a").pytest is load("pkg.a").v is pytest


def test_namespaces_a_stray_folder_hides_no_package_of_another_environment(
    put: Put, tmp_path: Path
) -> None:
    package = tmp_path / "other" / "site-packages" / "helper"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("v = 'library'")
    sys.path.insert(0, str(package.parent))
    put({"helper/run.py": "", "pkg/a.py": "from helper import v"})
    assert load("pkg.a").v == "library"


def test_namespaces_a_stray_folder_without_a_package_is_its_own(put: Put) -> None:
    put({"helper/a.py": "v = 1", "pkg/a.py": "import helper.a\nv = helper.a.v"})
    assert load("pkg.a").v == 1


def test_namespaces_a_regular_own_package_hides_third_party(put: Put) -> None:
    put({"pytest/__init__.py": "v = 1", "pkg/a.py": "import pytest\nv = pytest.v"})
    assert load("pkg.a").v == 1


def test_namespaces_builtin_modules_are_never_own(put: Put) -> None:
    put({"sys.py": "1/0", "time.py": "1/0", "pkg/a.py": "import sys, time\nv = sys, time"})
    assert load("pkg.a").v == (sys, importlib.import_module("time"))


def test_namespaces_no_folder_of_the_tree_is_listed_from_disk(put: Put) -> None:
    mount = put({"pkg/__init__.py": "", "pkg/a.py": ""})
    with open(mount.source.location("pkg/a.py").replace("a.py", "planted.py"), "w") as file:
        file.write("raise RuntimeError('it ran')")
    package = load("pkg")
    assert [m.name for m in pkgutil.iter_modules(package.__path__)] == ["a"]
    assert importlib.util.find_spec(f"{NAME}.pkg.planted") is None
    with pytest.raises(ModuleNotFoundError):
        load("pkg.planted")
