"""Files of a snapshot, put into the cache: as one source pack, and laid out as real files."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from codevault_cache import paths
from codevault_cache.atomicwrite import publish_file, written
from codevault_cache.errors import CorruptEntry, DigestMismatch, Missing
from codevault_cache.laidout import existing, lay_out
from codevault_cache.pack import encode
from codevault_cache.tree import Tree
from codevault_cache.treepaths import check_paths

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def pack_problem(path: str, digest: str) -> str | None:
    """Say what is wrong with a source pack, or None for a good one: every byte is hashed."""
    try:
        tree = Tree(path, digest, "")
        try:
            for file in tree.paths:
                tree.read(file)
        finally:
            tree.close()
    except (CorruptEntry, Missing) as error:
        return f"{error.what} {error.why}"
    return None


def _require_room(root: str, size: int) -> None:
    """Fail before anything is written where not even the source pack fits.

    Laid-out files may be links, which take nothing: what they need shows when they are written.
    """
    try:
        disk = os.statvfs(root)
    except OSError:
        return
    free = disk.f_bavail * disk.f_frsize
    if free < size or disk.f_files > 0 == disk.f_favail:
        what = f"{size:,} bytes" if free < size else "a file"
        has = f"{free:,}" if free < size else "no inode"
        raise OSError(errno.ENOSPC, f"{what} are needed, and the disk has {has} left")


def put(
    roots: Sequence[str], files: Mapping[str, tuple[int, bytes]], expected: str | None = None
) -> str:
    """Keep the files of a snapshot in the first folder, unless a good pack of them is in any.

    Args:
        roots: The cache's folders.
        files: Tree path to git mode and content.
        expected: The digest that they must have; None takes any.

    Returns:
        The digest.

    Raises:
        UnsafeName: A path must not become a file on this machine.
        DigestMismatch: They have another digest; nothing is kept.
        Unwritable: The first folder does not take them.
    """
    check_paths(files)
    digest, pieces = encode(files)
    if expected not in (None, digest):
        raise DigestMismatch(
            "The files are not the code that was recorded.",
            f"Their listing has the digest {digest}, and {expected} was expected.",
        )
    root = roots[0]
    with written(root):
        if all(pack_problem(paths.pack(each, digest), digest) is not None for each in roots):
            paths.prepare(root)
            _require_room(root, sum(len(content) for _, content in files.values()))
            publish_file(
                paths.pack(root, digest),
                paths.tmp(root),
                pieces,
                intact=lambda path: pack_problem(path, digest) is None,
            )
        if existing(roots, digest) is None:
            lay_out(root, digest, files)
    return digest
