"""The search finds what CPython's own finder finds in the same folders."""

from __future__ import annotations

import os
import tempfile
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codevault_importhook.search import Folders, Found
from tests.importhook.pictures import Folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.importhook.conftest import Lay

EXTENSION = EXTENSION_SUFFIXES[0]


def find(lay: Lay, paths: Sequence[str], leaf: str, roots: Sequence[str] = ("",)) -> Found | None:
    return Folders(lay(dict.fromkeys(paths, ""))).find(leaf, roots)


def test_package_first(lay: Lay) -> None:
    assert find(lay, ["a.py", "a/__init__.py"], "a") == Found("a/__init__.py", True)


def test_module_beats_namespace_folder(lay: Lay) -> None:
    assert find(lay, ["a.py", "a/x.py"], "a") == Found("a.py", False)


def test_extension_first(lay: Lay) -> None:
    found = find(lay, ["a.py", f"a{EXTENSION}"], "a")
    assert found == Found(f"a{EXTENSION}", False, True)


def test_extension_package(lay: Lay) -> None:
    found = find(lay, [f"a/__init__{EXTENSION}"], "a")
    assert found == Found(f"a/__init__{EXTENSION}", True, True)


def test_no_bytecode(lay: Lay) -> None:
    assert find(lay, ["a.pyc", "__pycache__/a.cpython-311.pyc"], "a") is None


def test_a_folder_named_like_a_file_is_no_module(lay: Lay) -> None:
    assert find(lay, ["a.py/x.txt"], "a") is None


def test_portions_are_gathered_in_order(lay: Lay) -> None:
    found = find(lay, ["r1/a/x.py", "r2/a/y.py", "r3/b.py"], "a", ["r2", "r1", "r3", "nowhere"])
    assert found == Found(None, True, portions=("r2/a", "r1/a"))


def test_portions_lose_to_a_regular_package_of_a_later_root(lay: Lay) -> None:
    found = find(lay, ["r1/a/x.py", "r2/a/__init__.py"], "a", ["r1", "r2"])
    assert found == Found("r2/a/__init__.py", True)


def test_names_are_what_could_be_imported(lay: Lay) -> None:
    paths = ["a.py", "b/x.txt", f"c{EXTENSION}", "d.txt", "not-a-name.py", "__init__.py", "e.pyc"]
    assert Folders(lay(dict.fromkeys(paths, ""))).names("") == {"a", "b", "c"}


def test_modules_are_reached_from_the_roots_only(lay: Lay) -> None:
    paths = ["src/a/b.py", "src/a/not-a-name/c.py", "src/d.txt", "other/e.py", "src/1.py"]
    assert Folders(lay(dict.fromkeys(paths, ""))).modules(["src"]) == ["src/a/b.py"]


@pytest.mark.parametrize(
    ("location", "folder"),
    [
        ("", ""),
        ("/src", "src"),
        ("/src/", "src"),
        ("/src/a", "src/a"),
        ("/nowhere", None),
        ("x", None),
    ],
)
def test_locations_are_told_apart(location: str, folder: str | None, lay: Lay) -> None:
    source = lay({"src/a/b.py": ""})
    assert Folders(source).of(source.location("") + location) == folder
    assert Folders(source).of("/elsewhere" + location) is None


def test_locations_are_known_however_they_are_spelled(lay: Lay, tmp_path: Path) -> None:
    source = lay({"src/a/b.py": "", "src/.hidden/c.py": ""})
    folders, top = Folders(source), source.location("")
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    through = str(tmp_path / "link" / os.path.basename(top))
    for spelled in (f"{top}/src/a/../a", f"{top}/./src/a/", f"{top}/../{top[1:]}/../src", through):
        real = os.path.realpath(spelled)
        expected = real[len(top) + 1 :] if f"{real}/".startswith(f"{top}/") else None
        assert folders.of(spelled) == expected, spelled
    assert folders.of(f"{through}/src/a") == "src/a"
    assert folders.of(f"{top}/src/a") == folders.of(f"{top}/src/a") == "src/a"
    (tmp_path / "link").unlink()
    assert folders.of(f"{through}/src/a") is None  # what a link said is not remembered
    assert folders.below(f"{top}/src/a/../a/b.py") == "src/a/b.py"
    assert folders.of(f"{top}/src/.hidden") == "src/.hidden"
    assert folders.of(f"{top}/../elsewhere") is None
    assert folders.of(f"{top}/src/../..") is None


NAMES = st.sampled_from(["a", "b", "__init__"])
FILES = st.builds(
    lambda root, folders, name, suffix: "/".join([root, *folders, name + suffix]),
    st.sampled_from(["r1", "r2", "r3"]),
    st.lists(st.sampled_from(["a", "b", "a.py"]), max_size=2),
    NAMES,
    st.sampled_from([".py", EXTENSION, ".txt", ".py.bak"]),
)


def _no_file_is_also_a_folder(paths: set[str]) -> bool:
    return not any(p != q and p.startswith(q + "/") for p in paths for q in paths)


@settings(max_examples=300, deadline=None)
@given(
    st.sets(FILES, max_size=8).filter(_no_file_is_also_a_folder),
    st.permutations(["r1", "r2", "r3"]),
    st.sampled_from(["a", "b"]),
)
def test_the_same_module_as_cpython(paths: set[str], roots: list[str], leaf: str) -> None:
    with tempfile.TemporaryDirectory() as top:
        source = Folder(Path(top), dict.fromkeys(paths, ""))
        found = Folders(source).find(leaf, roots)
        spec = PathFinder.find_spec(leaf, [source.location(root) for root in roots])
        if spec is None:
            assert found is None
            return
        assert found is not None
        if spec.has_location:
            assert found.path is not None
            assert source.location(found.path) == spec.origin
            assert found.is_package == (spec.submodule_search_locations is not None)
        else:
            assert found.path is None
            portions = [source.location(portion) for portion in found.portions]
            assert portions == list(spec.submodule_search_locations or ())
