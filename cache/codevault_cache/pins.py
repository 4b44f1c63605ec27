"""Pins: splint names that are never collected and never removed, until they are unpinned."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from codevault_cache import paths
from codevault_cache.collect import items_of, remove
from codevault_cache.errors import Held, Missing, Unwritable
from codevault_cache.holdings import holdings, pinned, read_record
from codevault_cache.trash import discard
from codevault_cache.usage import allocated

if TYPE_CHECKING:
    from codevault_cache.cache import Cache


def pin(cache: Cache, name: str) -> None:
    """Keep a snapshot, whatever is collected.

    Raises:
        Missing: The cache does not hold it.
        Unwritable: The first folder cannot be written.
    """
    snapshot = cache.snapshot(name)
    if snapshot is None or not cache.has(snapshot.digest):
        raise Missing(
            f"The cache does not hold {name}.",
            "Only what is there can be kept.",
            "codevault cache ls",
        )
    path = paths.pin(cache.roots[0], snapshot.name)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with contextlib.suppress(FileExistsError), open(path, "xb"):
            pass
    except OSError as error:
        raise Unwritable(f"{name} cannot be pinned.", str(error), "") from None


def unpin(cache: Cache, name: str) -> None:
    """Let a snapshot be collected again.

    Raises:
        Missing: It is not pinned.
    """
    if name not in pinned(cache.roots[:1]):
        raise Missing(f"{name} is not pinned.", "", "codevault cache ls")
    os.unlink(paths.pin(cache.roots[0], name))


def rm(cache: Cache, name: str) -> int:
    """Remove a snapshot from the first folder; its files go unless another name has the same.

    Returns:
        The bytes that came free, as `du` counts them.

    Raises:
        Missing: The first folder does not hold it.
        Held: It is pinned, or a running process uses it.
    """
    root = cache.roots[0]
    held = next((h for h in holdings(root) if name in [s.name for s in h.snapshots]), None)
    if held is None:
        raise Missing(f"{root} does not hold {name}.", "", "codevault cache ls")
    if name in pinned(cache.roots):
        raise Held(f"{name} is pinned.", "", f"codevault cache unpin {name}")
    before = allocated([root])
    if len(held.snapshots) == 1:
        item = next(item for item in items_of(cache) if item.name == name)
        if not remove(cache, item):
            raise Held(
                f"{name} cannot be removed now.",
                "A running process uses it, or a file of it cannot be removed.",
                "end the processes that loaded it, and try again",
            )
    else:
        for record in held.records:
            found = read_record(record)
            if found is not None and found.name == name:
                discard(record, paths.tmp(root))
    return before - allocated([root])
