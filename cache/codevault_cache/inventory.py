"""What is in the cache, as a list shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault_cache import paths
from codevault_cache.errors import CacheError
from codevault_cache.holdings import holdings, pinned
from codevault_cache.snapshot import Snapshot  # noqa: TC001  (a public annotation resolves)
from codevault_cache.tree import Tree
from codevault_cache.usage import allocated

if TYPE_CHECKING:
    from codevault_cache.cache import Cache


@dataclass(frozen=True, slots=True)
class Entry:
    """One snapshot in the cache, as a list shows it.

    Attributes:
        snapshot: Its record.
        root: The folder of the cache that holds the record.
        files: Number of files; 0 when the pack is missing.
        size: Bytes on the disk of its records, pack, files and compiled code, as `du` counts them:
            names with one digest share them, and files may be shared with other snapshots.
        used: When it was last used, in seconds since the epoch.
        pinned: Whether it is never collected.
    """

    snapshot: Snapshot
    root: str
    files: int
    size: int
    used: float
    pinned: bool


def entries(cache: Cache) -> list[Entry]:
    """All snapshots of a cache, by name; one that several folders hold is listed once."""
    seen: dict[str, Entry] = {}
    pins = pinned(cache.roots)
    for root in cache.roots:
        for held in holdings(root):
            new = [s for s in held.snapshots if s.name not in seen]
            if not new:
                continue
            files = _count(cache, held.digest)
            size = allocated((*held.records, *held.objects))
            for snapshot in new:
                pin = snapshot.name in pins
                seen[snapshot.name] = Entry(snapshot, root, files, size, held.used, pin)
    return [seen[name] for name in sorted(seen)]


def _count(cache: Cache, digest: str) -> int:
    for root in cache.roots:
        try:
            tree = Tree(paths.pack(root, digest), digest, "")
        except CacheError:
            continue
        try:
            return len(tree.paths)
        finally:
            tree.close()
    return 0
