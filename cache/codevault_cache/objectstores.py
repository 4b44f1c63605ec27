"""Bare git object stores: this cache's own, one per repository, and other people's, read only.

dulwich is an object store and a wire library here: no refs, no shallow file, no configuration, no
checkout.
"""

from __future__ import annotations

import contextlib
import gc
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dulwich.object_store import DiskObjectStore


def _opened(path: str, oid: str) -> DiskObjectStore:
    from dulwich.object_format import OBJECT_FORMATS
    from dulwich.object_store import DiskObjectStore

    return DiskObjectStore(
        path, object_format=OBJECT_FORMATS["sha256" if len(oid) == 64 else "sha1"]
    )


@contextlib.contextmanager
def read_only(path: str, oid: str) -> Iterator[DiskObjectStore]:
    """Somebody's object store, alternates included; nothing is written.

    Args:
        path: The `objects` folder.
        oid: Any object id of the repository: its length tells the hash.
    """
    store = _opened(path, oid)
    try:
        yield store
    finally:
        try:
            store.close()
        except BufferError:
            # Frames of an error still look at a mapped pack.
            gc.collect()
            store.close()


@contextlib.contextmanager
def depot(path: str, oid: str) -> Iterator[DiskObjectStore]:
    """One of this cache's own object stores, made where it is missing."""
    for folder in ("pack", "info"):
        os.makedirs(os.path.join(path, folder), exist_ok=True)
    # A store that was just used is not collected.
    with contextlib.suppress(OSError):
        os.utime(path)
    with read_only(path, oid) as store:
        yield store


def add_pack(
    objects: str, fd: int, path: str, tmp: str, *, sha256: bool
) -> Mapping[str, tuple[str, bytes]]:
    """Add a pack that a server sent.

    Args:
        objects: The `objects` folder of one of this cache's own stores.
        fd: The pack: a file that nobody else can write.
        path: Its name, in the tmp folder.
        tmp: A folder for half-written files, on the same file system.
        sha256: Whether the repository's ids are SHA-256.

    Returns:
        Id to kind and content of its objects, as far as they fit into memory.

    Raises:
        HostileObject: The pack is malformed.
        TooLarge: It inflates beyond the limits.
    """
    import mmap

    from codevault_cache.atomicwrite import publish_file, publish_written
    from codevault_cache.received import receive

    with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as pack:
        held, index = receive(pack, sha256=sha256)
        checksum = bytes(pack[-32 if sha256 else -20 :])
    name = os.path.join(objects, "pack", f"pack-{checksum.hex()}")
    # Readers look for an index, and then for its pack.
    publish_written(fd, path, name + ".pack")
    publish_file(name + ".idx", tmp, (index,))
    return held
