"""Whose code a file is, by where it lies; a mount asks the file system for none of that."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import codevault_importhook as hook
from codevault_importhook import libraries
from tests.importhook.pictures import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.importhook.conftest import Lay

CACHES = (libraries.library_folders, libraries._behind_links, libraries.is_library_file)


@pytest.fixture
def forgotten() -> Iterator[None]:
    for cache in CACHES:
        cache.cache_clear()
    yield
    for cache in CACHES:
        cache.cache_clear()


@pytest.mark.usefixtures("forgotten")
def test_libraries_are_known_as_spelled_and_behind_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(tmp_path / "link")])
    assert libraries.is_library_file(f"{tmp_path}/link/lib.py")
    assert libraries.is_library_file(f"{tmp_path}/real/lib.py")
    assert libraries.is_library_file(os.path.realpath(os.__file__))
    assert not libraries.is_library_file(f"{tmp_path}/real.py")
    assert not libraries.is_library_file(f"{tmp_path}/train.py")


CHILD = """
import os, posixpath, sys
sys.path[:0] = sys.argv[2:]
import codevault_importhook as hook
class Tree:
    digest, paths = "0", frozenset(["pkg/__init__.py"])
    def location(self, path): return f"{sys.argv[1]}/{path}" if path else sys.argv[1]
def refuse(*args, **options): raise AssertionError(args)
os.stat = os.lstat = os.readlink = os.listdir = os.scandir = posixpath.realpath = refuse
print(hook.mount("NAME", Tree(), roots=[""]).name)
""".replace("NAME", NAME)


def test_a_first_mount_asks_the_file_system_nothing(lay: Lay) -> None:
    top = str(lay({"pkg/__init__.py": ""}).top)
    room = os.path.dirname(os.path.dirname(hook.__file__))
    command = [sys.executable, "-c", CHILD, top, room]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.stdout.strip() == NAME, done.stderr
