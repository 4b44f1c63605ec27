"""Bare git object stores: this cache's own, one per repository, and other people's, read only.

dulwich is an object store and a wire library here: no refs, no shallow file, no configuration, no
checkout.
"""

from __future__ import annotations

import contextlib
import gc
import glob
import os
import time
from typing import IO, TYPE_CHECKING

from codevault_cache.errors import CacheError, HostileObject
from codevault_cache.limits import PACK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    with read_only(path, oid) as store:
        yield store


@contextlib.contextmanager
def _locked(path: str) -> Iterator[bool]:
    """Hold the store's lock if locks work here; nothing is unsafe without it."""
    held, fd = False, -1
    with contextlib.suppress(OSError, ImportError):
        import fcntl

        fd = os.open(
            os.path.join(path, "codevault.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
        )
        fcntl.flock(fd, fcntl.LOCK_EX)
        held = True
    try:
        yield held
    finally:
        if fd >= 0:
            os.close(fd)


def add_pack(store: DiskObjectStore, file: IO[bytes]) -> None:
    """Add a pack that a server sent.

    Args:
        store: One of this cache's own stores.
        file: The pack, at its beginning.

    Raises:
        HostileObject: The pack is malformed.
    """
    if not __debug__:
        # One check of dulwich against hostile packs is an assert statement.
        raise CacheError(
            "Git packs are not taken in under python -O.",
            "A check against hostile packs is switched off by -O.",
            "python -m codevault prefetch, without -O; then load with -O",
        )
    import zlib

    from dulwich.errors import ApplyDeltaError, ChecksumMismatch, FileFormatException
    from dulwich.file import FileLocked
    from dulwich.pack import UnresolvedDeltas

    path = os.fspath(store.path)
    why = ""
    for attempt in range(6):
        try:
            with _locked(path) as held:
                if held:
                    _sweep(path)
                file.seek(0)
                store.add_thin_pack(file.read, None, max_input_size=PACK_BYTES)
            return
        except (FileLocked, FileNotFoundError, FileExistsError):
            # Another process adds the same pack, and locks do not work here.
            if attempt == 5:
                raise
            time.sleep(0.05 * 2**attempt)
            continue
        except (
            ChecksumMismatch,
            FileFormatException,
            UnresolvedDeltas,
            ApplyDeltaError,
            zlib.error,
            ValueError,
            AssertionError,
            MemoryError,
            EOFError,
        ) as error:
            why = type(error).__name__
        # Outside of the handler: its frames hold on to mapped packs, which could not be closed
        # then.
        with _locked(path) as held:
            if held:
                _sweep(path)
        raise HostileObject("The server sent a pack that is malformed.", why, "")


def _sweep(path: str) -> None:
    """Remove what a writer that died has left: only the lock's holder may."""
    for pattern in ("pack/*.lock", "tmp_pack_*", "pack/tmp*"):
        for left in glob.glob(os.path.join(glob.escape(path), pattern)):
            with contextlib.suppress(OSError):
                os.unlink(left)
