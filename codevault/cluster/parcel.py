"""What passes between the machines of one job: what is asked for, and what one node read.

Plain values; whatever carries them, the code in a parcel is not believed: each node checks it as it
checks a mirror. Proofs are the exception, since only a git server can give them: they come from the
task that the same user runs on the node that read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from codevault.manifest import Manifest
    from codevault.prefetchgroups import Look
    from codevault_cache import Wanted


@dataclass(frozen=True, slots=True)
class Carried:
    """A checkpoint, as far as its code goes, without the file.

    Attributes:
        manifest: Its manifest.
        pack: The git objects that travel in it, or None.
    """

    manifest: Manifest
    pack: bytes | None

    def objects(self) -> bytes | None:
        """The git objects that travel in it, or None."""
        return self.pack


def carried(seen: Look) -> Look:
    """What a URI asks for, so that another machine can have it, where the file does not lie.

    Raises:
        CodevaultError: The objects that travel in it are damaged.
    """
    if seen.code is None or seen.allowed is None:
        return seen
    pack = seen.code.objects() if seen.allowed.scope != "repository" else None
    return dataclasses.replace(seen, code=Carried(seen.code.manifest, pack))


@dataclass(frozen=True, slots=True)
class Order:
    """One snapshot, for a node that shall have it.

    Attributes:
        uris: What asked for it.
        splint: Its name.
        wanted: The questions that a load asks.
        proofs: What is known of its commit, as the cache notes it.
    """

    uris: tuple[str, ...]
    splint: str
    wanted: tuple[Wanted, ...]
    proofs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one node read for the others.

    Attributes:
        orders: The snapshots.
        mirror: Where they lie, in any form that fsspec knows; "" where they are in `files`.
        files: Relative path to content, as in a mirror.
    """

    orders: tuple[Order, ...]
    mirror: str
    files: Mapping[str, bytes]


@contextlib.contextmanager
def memory(files: Mapping[str, bytes]) -> Iterator[str]:
    """A mirror in this process's memory."""
    import fsspec

    place = f"/codevault-{secrets.token_hex(8)}"
    store = fsspec.filesystem("memory")
    try:
        for path, content in files.items():
            store.pipe_file(f"{place}/{path}", content)
        yield f"memory:/{place}"
    finally:
        if store.exists(place):
            store.rm(place, recursive=True)


def files_in(place: str) -> dict[str, bytes]:
    """Relative path to content of all that lies in a mirror."""
    import fsspec

    store, top = fsspec.url_to_fs(place)
    return {path.removeprefix(f"{top}/"): store.cat_file(path) for path in store.find(top)}
