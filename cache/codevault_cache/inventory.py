"""What is in the cache, as a list shows it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault_cache import paths
from codevault_cache.errors import CacheError
from codevault_cache.snapshot import Snapshot  # noqa: TC001  (a public annotation resolves)
from codevault_cache.tree import Tree
from codevault_cache.verify import names_in

if TYPE_CHECKING:
    from codevault_cache.cache import Cache


@dataclass(frozen=True, slots=True)
class Entry:
    """One snapshot in the cache, as a list shows it.

    Attributes:
        snapshot: Its record.
        root: The folder of the cache that holds it.
        files: Number of files; 0 when the pack is missing.
        size: Bytes of the source pack.
        used: When the pack was last read or written, in seconds since the epoch.
    """

    snapshot: Snapshot
    root: str
    files: int
    size: int
    used: float


def entries(cache: Cache) -> list[Entry]:
    """All snapshots of a cache, by name; one that several folders hold is listed once."""
    seen: dict[str, Entry] = {}
    for root in cache.roots:
        for file in names_in(os.path.join(root, paths.VERSION, "snapshots")):
            snapshot = cache.snapshot(file.removesuffix(".json"))
            if snapshot is None or snapshot.name in seen:
                continue
            for place in cache.roots:
                pack = paths.pack(place, snapshot.digest)
                if os.path.exists(pack):
                    status = os.stat(pack)
                    used = max(status.st_atime, status.st_mtime)
                    count = _count(pack, snapshot.digest)
                    seen[snapshot.name] = Entry(snapshot, place, count, status.st_size, used)
                    break
            else:
                seen[snapshot.name] = Entry(snapshot, root, 0, 0, 0.0)
    return [seen[name] for name in sorted(seen)]


def _count(path: str, digest: str) -> int:
    try:
        tree = Tree(path, digest, "")
    except CacheError:
        return 0
    try:
        return len(tree.paths)
    finally:
        tree.close()
