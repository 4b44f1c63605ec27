"""Mount records: which snapshot, in which caches, the name of a splint stood for when mounted."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

from codevault import userdir
from codevault_cache import Cache, Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence


_CACHES: Final = 8
"""How many caches a record names at most."""


def remember(snapshot: Snapshot, roots: Sequence[str]) -> None:
    """Writes the record of a snapshot that was mounted, unless it is there already.

    Caches that it was mounted from before stay in the record as long as they exist.
    """
    try:
        before = recall(snapshot.name)
    except (OSError, ValueError):
        before = None
    older = before[1].roots if before is not None and before[0] == snapshot else ()
    if older[: len(roots)] == tuple(roots):
        return
    caches = list(dict.fromkeys((*roots, *older)))[:_CACHES]
    record = {"caches": caches, "snapshot": snapshot.to_json().decode()}
    userdir.write("mounts", snapshot.name, json.dumps(record).encode())


def recall(name: str) -> tuple[Snapshot, Cache] | None:
    """The snapshot and the cache that a splint's name was mounted from; None without a record.

    Raises:
        ValueError: The record is damaged.
        OSError: Likewise.
    """
    record = userdir.read("mounts", name)
    if record is None:
        return None
    data = json.loads(record)
    if not isinstance(data, dict) or not {"caches", "snapshot"} <= set(data):
        raise ValueError("the mount record is damaged")
    caches = [path for path in data["caches"] if os.path.isdir(path)]
    return Snapshot.from_json(str(data["snapshot"]).encode()), Cache(tuple(caches))
