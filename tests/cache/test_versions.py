"""A further version of a tree costs what changed: equal files are one file on the disk."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from codevault_cache import Cache, collect, paths
from codevault_cache.derived import newest
from codevault_cache.usage import allocated

MODULES = {f"pkg/m{n}.py": (0o100644, b"x = %d\n" % n * 300) for n in range(60)}


def version(number: int) -> dict[str, tuple[int, bytes]]:
    return {**MODULES, "pkg/changed.py": (0o100644, b"v = %d\n" % number)}


def inode(cache: Cache, digest: str, path: str) -> int:
    return os.stat(os.path.join(paths.tree(cache.roots[0], digest), path)).st_ino


def contents(cache: Cache, digest: str) -> dict[str, tuple[int, bytes]]:
    tree = cache.tree(digest)
    try:
        for path in tree.paths:
            with open(tree.location(path), "rb") as file:
                assert file.read() == tree.read(path)
        return {path: (tree.mode(path), tree.read(path)) for path in tree.paths}
    finally:
        tree.close()


def test_equal_files_of_versions_are_one_file(cache: Cache) -> None:
    first = cache.publish(version(1))
    before = allocated([cache.roots[0]])
    second = cache.publish(version(2))
    assert inode(cache, first, "pkg/m7.py") == inode(cache, second, "pkg/m7.py")
    assert inode(cache, first, "pkg/changed.py") != inode(cache, second, "pkg/changed.py")
    assert contents(cache, second) == version(2)
    assert cache.verify().ok
    # A pack of raw bodies, a folder, and a file: far below the budget of 2.5 MB.
    assert allocated([cache.roots[0]]) - before < 500_000
    collect.collect(collect.everything(cache))
    assert allocated([os.path.join(cache.roots[0], "v1", "trees")]) < 10_000


def test_compiled_libraries_of_versions_are_files_of_their_own(cache: Cache) -> None:
    """What the system loads once per file holds static state, which versions must not share."""
    library = {"pkg/_fast.abi3.so": (0o100755, b"\x7fELF")}
    first, second = (cache.publish({**version(n), **library}) for n in (1, 2))
    assert inode(cache, first, "pkg/_fast.abi3.so") != inode(cache, second, "pkg/_fast.abi3.so")
    assert inode(cache, first, "pkg/m7.py") == inode(cache, second, "pkg/m7.py")


def test_removing_one_version_leaves_the_other_whole(cache: Cache) -> None:
    first, second = cache.publish(version(1)), cache.publish(version(2))
    (item,) = (item for item in collect.items_of(cache) if item.name == first)
    assert collect.remove(cache, item)
    assert contents(cache, second) == version(2)
    assert cache.verify().ok


@pytest.mark.parametrize("damage", ["content", "size", "mode", "link", "owner"])
def test_I5_a_damaged_file_is_not_taken_over(
    damage: str, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cache.publish(version(1))
    victim = os.path.join(paths.tree(cache.roots[0], first), "pkg/m7.py")
    with open(victim, "rb") as file:
        good = file.read()
    if damage in ("content", "size"):
        os.chmod(victim, 0o644)
        with open(victim, "r+b") as file:
            if damage == "size":
                file.seek(0, os.SEEK_END)
            file.write(b"y")
        os.chmod(victim, 0o444)
    elif damage == "mode":
        os.chmod(victim, 0o666)
    elif damage == "link":
        os.chmod(os.path.dirname(victim), 0o755)
        os.rename(victim, victim + "-away")
        os.symlink(victim + "-away", victim)
    else:
        uid = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    second = cache.publish(version(2))
    tree = paths.tree(cache.roots[0], second)
    with open(os.path.join(tree, "pkg/m7.py"), "rb") as file:
        assert file.read() == good
    assert os.lstat(os.path.join(tree, "pkg/m7.py")).st_ino != os.lstat(victim).st_ino
    assert tree not in [bad.path for bad in cache.verify().bad]


@pytest.mark.parametrize("code", [errno.EMLINK, errno.EPERM])
def test_where_no_link_can_be_made_files_are_written(
    code: int, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, "no link")

    cache.publish(version(1))
    digest = cache.publish(version(3))
    monkeypatch.setattr(os, "link", refuse)
    second = cache.publish(version(2))
    assert contents(cache, second) == version(2)
    assert contents(cache, digest) == version(3)
    assert cache.verify().ok


def test_the_newest_code_pack_of_a_tag_is_given(cache: Cache) -> None:
    root = cache.roots[0]
    assert newest(root, "cp") is None
    for n, digest in enumerate(("1" * 64, "2" * 64)):
        cache.derived(digest, "cp", lambda n=n: b"code %d" % n)  # type: ignore[misc]
        path = paths.code(cache.roots[0], "cp", digest)
        os.utime(path, (n, n))
    assert newest(root, "cp") == b"code 1"
    assert newest(root, "other") is None
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.write(b"!")
    assert newest(root, "cp") is None
