"""Mount records: which snapshot, in which cache, a splint's name stood for when it was mounted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from codevault import userdir
from codevault_cache import Cache, Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence


def remember(snapshot: Snapshot, roots: Sequence[str]) -> None:
    """Writes the record of a snapshot that was mounted, unless it is there already."""
    record = json.dumps({"caches": list(roots), "snapshot": snapshot.to_json().decode()}).encode()
    if userdir.read("mounts", snapshot.name) != record:
        userdir.write("mounts", snapshot.name, record)


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
    return Snapshot.from_json(str(data["snapshot"]).encode()), Cache.open(data["caches"])
