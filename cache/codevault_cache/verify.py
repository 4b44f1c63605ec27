"""A look at everything in the cache: what is there, and whether it is still what it was."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault_cache import paths
from codevault_cache.derived import read_derived
from codevault_cache.errors import CacheError, CorruptEntry
from codevault_cache.holdings import code_packs, packs, records, trees
from codevault_cache.packing import pack_problem
from codevault_cache.snapshot import DIGEST, NAME, Snapshot
from codevault_cache.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from codevault_cache.cache import Cache


@dataclass(frozen=True, slots=True)
class Bad:
    """One damaged entry.

    Attributes:
        path: Where it is.
        why: What is wrong with it.
    """

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found.

    Attributes:
        packs: Source packs that were hashed.
        records: Records that were read.
        files: Laid-out files that were hashed.
        code: Code packs that were hashed.
        bad: The damaged entries.
    """

    packs: int
    records: int
    files: int
    code: int
    bad: tuple[Bad, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.bad


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
    except OSError as error:
        return f"It cannot be read: {error}.", count
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


def verify(cache: Cache, done: Callable[[str], object] = lambda path: None) -> Report:
    """Hash everything again; nothing is changed.

    Args:
        cache: The cache, all of its folders.
        done: Called with the path of each entry that was looked at.

    Returns:
        What was looked at, and what is damaged.
    """
    bad: list[Bad] = []
    counts: Counter[str] = Counter()
    for root in cache.roots:
        for kind, path, why, files in _looked_at(cache, root):
            counts[kind] += 1
            counts["files"] += files
            if why is not None and os.path.lexists(path):  # a collection may run meanwhile
                bad.append(Bad(path, why))
            done(path)
    return Report(counts["packs"], counts["records"], counts["files"], counts["code"], tuple(bad))


def _looked_at(cache: Cache, root: str) -> Iterator[tuple[str, str, str | None, int]]:
    """Kind and path of each entry of a folder, what is wrong with it, and files in it."""
    for digest, folder in trees(root):
        packs_of = (paths.pack(each, digest) for each in cache.roots)
        pack = next((path for path in packs_of if os.path.exists(path)), None)
        if not DIGEST.fullmatch(digest):
            yield "trees", folder, "Its name is no digest.", 0
        elif pack is not None:  # without one nobody reads it, and a collection removes it
            yield "trees", folder, *_laid_out_problem(folder, pack, digest)
    for digest, path in packs(root).items():
        good = DIGEST.fullmatch(digest)
        yield "packs", path, pack_problem(path, digest) if good else "It is no pack.", 0
    for digest, path in code_packs(root):
        tag = os.path.basename(os.path.dirname(os.path.dirname(path)))
        why = None
        if read_derived(path, digest, tag) is None:
            why = "It is not what this user derived, or somebody else can write it."
        yield "code", path, why, 0
    for kind in ("snapshots", "requests"):
        for name, path in records(root, kind):
            yield "records", path, _record_problem(path, name, request=kind == "requests"), 0
