"""Local copies of remote checkpoints: named by their content, and checked before they are used.

Beside the copies lie notes: which address, in which state of the store, had which content. Two
addresses of the same bytes share a copy.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from typing import TYPE_CHECKING, Any

from codevault import userdir
from codevault.archive import CHUNK
from codevault.uri import local_path, reading, state_of
from codevault_cache import paths
from codevault_cache.election import once
from codevault_cache.traffic import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def local_copy(uri: str | os.PathLike[str], root: str) -> str:
    """A local file with the checkpoint's bytes: the file itself, or a copy in a cache's folder.

    Of several processes that lack the copy, one makes it.

    A copy is used again as long as the store says the same of the content (size, times, etag);
    where it says nothing but the size, it is fetched each time. A copy that was written to since it
    was checked is checked again, and fetched again if it is not what came.

    Raises:
        FetchError: The store does not answer, has no such object, or gave only a part of it.
    """
    path = local_path(uri)
    if path is not None:
        return path
    text, folder = os.fspath(uri), paths.downloads(root)
    with reading(text) as (store, inner):
        count(requests=1)
        size, version = state_of(store, inner)
        key = hashlib.sha256(f"{text}\n{size}\n{version}".encode("utf-8", "replace")).hexdigest()
        note = os.path.join(folder, f"{key}.json")
        if not version:
            return _copied(store, inner, (size, version), folder)
        kept = None

        def there(_: str) -> bool:
            nonlocal kept
            kept = _kept(folder, note)
            return kept is not None

        def get(_: Sequence[str]) -> None:
            nonlocal kept
            kept = _copied(store, inner, (size, version), folder)
            _write_note(note, kept)

        once(root, [key], there, get)
        assert kept is not None
        return kept


def _copied(store: Any, inner: str, state: tuple[int | None, str], folder: str) -> str:
    """Copies an object that is in a state, and goes on being in it."""
    os.makedirs(folder, exist_ok=True)
    with _temporary(folder) as temporary:
        store.get_file(inner, temporary)
        got = os.path.getsize(temporary)
        count(requests=2, received=got)
        if state[0] not in (None, got):
            raise OSError(f"{got} bytes came, and the store states {state[0]}")
        if state_of(store, inner) != state:
            raise OSError("it changed while it was fetched")
        final = os.path.join(folder, f"{_digest(temporary)}.mpt")
        os.replace(temporary, final)
    return final


def _kept(folder: str, note: str) -> str | None:
    """The copy that a note names, if it is what came."""
    try:
        with open(note, encoding="utf-8") as file:
            said = json.load(file)
        digest, identity = str(said["sha256"]), said["identity"]
        copy = os.path.join(folder, f"{digest}.mpt")
        if _identity(copy) == identity:
            return copy
        if _digest(copy) == digest:
            _write_note(note, copy)
            return copy
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _write_note(note: str, copy: str) -> None:
    digest = os.path.basename(copy).removesuffix(".mpt")
    with contextlib.suppress(OSError):  # then the next use fetches again
        said = {"sha256": digest, "identity": _identity(copy)}
        userdir.replace(note, json.dumps(said).encode())


def _identity(path: str) -> list[int]:
    status = os.stat(path)
    place = [status.st_dev, status.st_ino, status.st_size]
    return [*place, status.st_mtime_ns, status.st_ctime_ns]


def _digest(path: str) -> str:
    digest, buffer = hashlib.sha256(), memoryview(bytearray(CHUNK))
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


@contextlib.contextmanager
def _temporary(folder: str) -> Iterator[Any]:
    path = os.path.join(folder, f".{os.getpid()}-{secrets.token_hex(6)}")
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
