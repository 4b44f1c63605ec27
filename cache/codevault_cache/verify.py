"""A look at everything in the cache: what is there, and whether it is still what it was."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault_cache import paths
from codevault_cache.errors import CacheError, CorruptEntry, Missing
from codevault_cache.snapshot import DIGEST, NAME, Snapshot
from codevault_cache.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from codevault_cache.cache import Cache


@dataclass(frozen=True, slots=True)
class Bad:
    """One damaged entry.

    Attributes:
        path: Where it is, or was.
        why: What is wrong with it.
        set_aside: Whether it was moved to the quarantine; entries of read-only folders stay.
    """

    path: str
    why: str
    set_aside: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found.

    Attributes:
        packs: Source packs that were hashed.
        records: Records that were read.
        files: Laid-out files that were hashed.
        bad: The damaged entries.
    """

    packs: int
    records: int
    files: int
    bad: tuple[Bad, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.bad


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


def names_in(folder: str) -> list[str]:
    """The names in a folder, sorted; none where there is no folder."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _packs(root: str) -> Iterator[tuple[str, str]]:
    top = os.path.join(root, paths.VERSION, "src")
    for short in names_in(top):
        for name in names_in(os.path.join(top, short)):
            yield name.removesuffix(".cvs"), os.path.join(top, short, name)


def _laid_out_problem(folder: str, pack: str, digest: str) -> tuple[str | None, int]:
    """Compare a laid-out tree with its pack: contents, modes, and nothing besides."""
    count = 0
    try:
        tree = Tree(pack, digest, folder)
    except CacheError as error:
        return f"Its pack is not good: {error.what}", 0
    try:
        found: set[str] = set()
        for where, folders, names in os.walk(folder):
            if any(os.path.islink(os.path.join(where, name)) for name in folders):
                return "It holds a link.", count
            for name in names:
                path = os.path.join(where, name)
                key = os.path.relpath(path, folder).replace(os.sep, "/")
                status = os.lstat(path)
                if key not in tree.paths or not stat.S_ISREG(status.st_mode):
                    return f"It holds {key!r}, which is not in the listing.", count
                with open(path, "rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != tree.sha256(key):
                        return f"The content of {key!r} was changed.", count
                if status.st_mode & 0o222 or bool(status.st_mode & 0o111) != bool(
                    tree.mode(key) & 0o111
                ):
                    return f"The mode of {key!r} was changed.", count
                found.add(key)
                count += 1
        gone = tree.paths - found
        return (f"{min(gone)!r} is missing." if gone else None), count
    finally:
        tree.close()


def _record_problem(path: str, name: str, *, request: bool) -> str | None:
    try:
        with open(path, "rb") as file:
            data = file.read()
        if request:
            head, _, data = data.partition(b"\n")
            if hashlib.sha256(head).hexdigest() != name:
                return "It is not the answer to the request in its name."
        snapshot = Snapshot.from_json(data)
    except (CorruptEntry, OSError) as error:
        return str(error)
    if not request and (snapshot.name != name or not NAME.fullmatch(name)):
        return "Its name is not the name of the snapshot in it."
    return None


def verify(cache: Cache) -> Report:
    """Hash everything again.

    Args:
        cache: The cache; damaged entries of its first folder are set aside.

    Returns:
        What was looked at, and what is damaged.
    """
    bad: list[Bad] = []
    packs = records = files = 0
    for root in cache.roots:
        top = os.path.join(root, paths.VERSION)

        def note(path: str, why: str | None, root: str = root) -> None:
            if why is not None:
                from codevault_cache.publish import set_aside

                own = root == cache.roots[0]
                bad.append(Bad(path, why, own and set_aside(path, paths.quarantine(root))))

        # Laid-out trees first: they are compared with packs that are still in their place.
        why: str | None
        for digest in names_in(os.path.join(top, "trees")):
            folder = paths.tree(root, digest)
            pack = next(
                (p for r in cache.roots if os.path.exists(p := paths.pack(r, digest))), None
            )
            if pack is None or not DIGEST.fullmatch(digest):
                why, count = "It has no pack to be compared with.", 0
            else:
                why, count = _laid_out_problem(folder, pack, digest)
            files += count
            note(folder, why)
        for digest, path in _packs(root):
            packs += 1
            note(path, pack_problem(path, digest) if DIGEST.fullmatch(digest) else "It is no pack.")
        for kind in ("snapshots", "requests"):
            for name in names_in(os.path.join(top, kind)):
                records += 1
                path = os.path.join(top, kind, name)
                stem = name.removesuffix(".json")
                note(path, _record_problem(path, stem, request=kind == "requests"))
    return Report(packs, records, files, tuple(bad))
