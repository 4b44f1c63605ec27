"""The files of a snapshot as real files: for `__file__`, data files, debuggers, compilers."""

from __future__ import annotations

import hashlib
import logging
import os
from typing import TYPE_CHECKING

from codevault_cache import paths
from codevault_cache.errors import CorruptEntry, Unreadable
from codevault_cache.snapshot import read_bytes
from codevault_cache.tree import OURS
from codevault_cache.treepaths import NATIVE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codevault_cache.tree import Tree

_NEIGHBOURS = 4
"""How many earlier trees are searched for equal files."""

_log = logging.getLogger("codevault_cache")


def existing(roots: Sequence[str], digest: str) -> str | None:
    """The folder of a digest's laid-out files, or None where there is none."""
    for root in roots:
        folder = paths.tree(root, digest)
        if os.path.isdir(folder):
            return folder
    return None


def lay_out(root: str, digest: str, files: Mapping[str, tuple[int, bytes]]) -> str:
    """Lay files out, all of them or none.

    Args:
        root: The folder of the cache that is written.
        digest: The snapshot's digest.
        files: Tree path to git mode and content; paths are checked.

    Returns:
        The top folder.
    """
    from codevault_cache.folders import publish_folder

    paths.prepare(root)
    folder = paths.tree(root, digest)
    publish_folder(folder, paths.tmp(root), files, _newest(os.path.dirname(folder)))
    return folder


def _newest(trees: str) -> list[str]:
    """The trees that were laid out last: what is likely to hold equal files."""
    try:
        with os.scandir(trees) as found:
            aged = sorted(
                (entry.stat(follow_symlinks=False).st_mtime, entry.path) for entry in found
            )
    except OSError:
        return []
    return [path for _, path in aged[: -_NEIGHBOURS - 1 : -1]]


def laid_out(roots: Sequence[str], tree: Tree) -> str:
    """The folder of a tree's files, laid out now where somebody removed or changed it.

    Args:
        roots: The folders of the cache.
        tree: The open tree.

    Returns:
        The top folder; it may be missing where the cache cannot be written.

    Raises:
        CorruptEntry: A compiled library in it was changed, and cannot be set aside.
        Unreadable: This process cannot open files now.
    """
    folder = existing(roots, tree.digest)
    changed = None if folder is None else _changed_library(tree, folder)
    if folder is not None and changed is None:
        return folder
    if folder == paths.tree(roots[0], tree.digest):
        _set_aside(folder, changed, paths.quarantine(roots[0]))
    files = {path: (tree.mode(path), tree.read(path)) for path in tree.paths}
    try:
        return lay_out(roots[0], tree.digest, files)
    except OSError as error:
        # Modules come from the pack; only data files and debuggers miss the folder.
        folder = paths.tree(roots[0], tree.digest)
        _log.warning("cannot lay out %s: %s", folder, error)
        return folder


def _changed_library(tree: Tree, folder: str) -> str | None:
    """A compiled library that is not what the listing says: the system would run it as it is."""
    for path in tree.paths:
        if path.endswith(NATIVE):
            try:
                content = read_bytes(os.path.join(folder, *path.split("/")))
            except OSError as error:
                if error.errno in OURS:
                    raise Unreadable("A laid-out file cannot be read.", f"{error}") from None
                return path
            if hashlib.sha256(content).hexdigest() != tree.sha256(path):
                return path
    return None


def _set_aside(folder: str, changed: str | None, quarantine: str) -> None:
    from codevault_cache.removal import set_aside

    _log.warning("laid-out files are set aside: %r of %s was changed", changed, folder)
    if not set_aside(folder, quarantine):
        raise CorruptEntry(
            f"The laid-out library {changed!r} was changed.",
            f"{folder} cannot be set aside.",
            "CODEVAULT_CACHE=/a/folder/of/yours",
        )
