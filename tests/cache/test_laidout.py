"""Compiled libraries run from their laid-out files: what was changed there is never handed out."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from codevault_cache import Cache, errors, paths, removal

if TYPE_CHECKING:
    from pathlib import Path

LIBRARY = b"\x7fELF, or so it says"
FILES = {
    "pkg/__init__.py": (0o100644, b""),
    "pkg/_fast.abi3.so": (0o100755, LIBRARY),
    "pkg/data.txt": (0o100644, b"data"),
}


def laid_out(cache: Cache, digest: str) -> str:
    """The library's laid-out file, as a load gets it."""
    tree = cache.tree(digest)
    try:
        return tree.location("pkg/_fast.abi3.so")
    finally:
        tree.close()


def write(path: str, data: bytes) -> None:
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.write(data)
        file.truncate(len(data))
    os.chmod(path, 0o555)


def content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def test_I5_every_flipped_byte_of_a_compiled_library_is_put_right(cache: Cache) -> None:
    digest = cache.publish(FILES)
    path = laid_out(cache, digest)
    for at in range(len(LIBRARY)):
        write(path, LIBRARY[:at] + bytes([LIBRARY[at] ^ 1 << at % 8]) + LIBRARY[at + 1 :])
        assert laid_out(cache, digest) == path
        assert content(path) == LIBRARY
    for bad in (b"", LIBRARY + b"\0", LIBRARY[:-1]):
        write(path, bad)
        assert content(laid_out(cache, digest)) == LIBRARY
    os.chmod(os.path.dirname(path), 0o755)
    os.unlink(path)
    assert content(laid_out(cache, digest)) == LIBRARY
    assert len(os.listdir(paths.quarantine(cache.roots[0]))) == len(LIBRARY) + 4
    assert cache.verify().ok


def test_I5_I8_a_library_that_was_changed_in_a_read_only_folder_is_laid_out_in_the_first(
    cache: Cache, tmp_path: Path
) -> None:
    digest = cache.publish(FILES)
    both = Cache.open([str(tmp_path / "first"), cache.roots[0]])
    theirs = laid_out(both, digest)
    assert theirs.startswith(cache.roots[0])
    write(theirs, b"evil")
    assert content(laid_out(both, digest)) == LIBRARY
    assert laid_out(both, digest).startswith(both.roots[0])
    assert content(theirs) == b"evil"


def test_I5_a_library_that_was_changed_and_cannot_be_set_aside_is_refused(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = cache.publish(FILES)
    write(laid_out(cache, digest), b"evil")
    monkeypatch.setattr(removal, "set_aside", lambda *_: False)
    with pytest.raises(errors.CorruptEntry, match=r"_fast\.abi3\.so"):
        cache.tree(digest)


def test_a_process_without_descriptors_says_so_and_changes_nothing(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = cache.publish(FILES)
    path = laid_out(cache, digest)
    real = os.open

    def full(name: str, *rest: int) -> int:
        if str(name).endswith(".so"):
            raise OSError(errno.EMFILE, "too many open files")
        return real(name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        with pytest.raises(errors.Unreadable):
            cache.tree(digest)
    assert laid_out(cache, digest) == path
    assert not os.path.exists(paths.quarantine(cache.roots[0]))
