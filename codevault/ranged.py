"""Members of a checkpoint that lies elsewhere, read by ranges: its weights are not fetched."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codevault import userdir
from codevault.archive import CHUNK, directory, found, unpacked
from codevault.checkpoint import MANIFEST, NEEDED, PACK, refuse_large, verified
from codevault.fileforms import refuse_forms, refuse_strangers
from codevault.manifest import Manifest, parse
from codevault.uri import opened, reading, shown, state_of
from codevault_cache.traffic import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class RemoteCode:
    """What a remote checkpoint says of its code.

    Attributes:
        uri: Where it lies.
        manifest: Its manifest.
        size: Bytes of the file.
        members: Bytes of each member.
    """

    uri: str | os.PathLike[str]
    manifest: Manifest
    size: int
    members: Mapping[str, int]

    @property
    def travels(self) -> bool:
        """Whether git objects travel in it."""
        return PACK in self.members

    def objects(self) -> bytes | None:
        """The git objects that travel in it, or None.

        Raises:
            CheckpointError: They are damaged.
            FetchError: The store does not answer.
        """
        return self.read(PACK) if self.travels else None

    def read(self, name: str) -> bytes:
        """One member, checked against its CRC-32; raises as `objects`."""
        with opened(self.uri) as file:
            return _Ranges(file, shown(self.uri)).member(name)


def remote_code(uri: str | os.PathLike[str]) -> RemoteCode:
    """What a remote checkpoint says of its code; only the needed ranges are read.

    Raises:
        CheckpointError: The file is no checkpoint, or a damaged one.
        FetchError: The store does not answer, or has no such object.
    """
    return _parsed(uri, *_read(uri))


def noted_code(
    uri: str | os.PathLike[str], folder: str, state: tuple[int | None, str] | None
) -> RemoteCode:
    """The same, without a look into the file where a note says it of its present state.

    Args:
        uri: Where it lies.
        folder: Where the notes are, one for each address.
        state: What a listing just said of it, as `state_of` does; None asks the store.

    Raises:
        CheckpointError: The file is no checkpoint, or a damaged one.
        FetchError: The store does not answer, or has no such object.
    """
    text = os.fspath(uri)
    if state is None or not state[1]:
        with reading(text) as (store, inner):
            count(requests=1)
            state = state_of(store, inner)
    note = os.path.join(folder, f"{hashlib.sha256(text.encode()).hexdigest()}.manifest")
    if state[1] and (known := _recalled(uri, note, state)) is not None:
        return known
    raw, size, members = _read(uri)
    code = _parsed(uri, raw, size, members)
    if state[1]:
        said = {"state": state, "size": size, "members": members, "manifest": raw.decode()}
        with contextlib.suppress(OSError):  # then the next look reads it again
            os.makedirs(folder, exist_ok=True)
            userdir.replace(note, json.dumps(said).encode())
    return code


def _recalled(
    uri: str | os.PathLike[str], note: str, state: tuple[int | None, str]
) -> RemoteCode | None:
    try:
        with open(note, encoding="utf-8") as file:
            said = json.load(file)
        if said["state"] == list(state):
            members = {str(name): int(size) for name, size in said["members"].items()}
            return _parsed(uri, said["manifest"].encode(), int(said["size"]), members)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return None


def _parsed(
    uri: str | os.PathLike[str], raw: bytes, size: int, members: Mapping[str, int]
) -> RemoteCode:
    return RemoteCode(uri, parse(raw, shown(uri)), size, members)


def _read(uri: str | os.PathLike[str]) -> tuple[bytes, int, Mapping[str, int]]:
    with opened(uri) as file:
        ranges = _Ranges(file, shown(uri))
        return ranges.member(MANIFEST), file.seek(0, 2), ranges.sizes


class _Ranges:
    """An open remote checkpoint."""

    def __init__(self, file: Any, where: str) -> None:
        self._file, self._where = file, where
        refuse_strangers(where, stat.S_IFREG, self._read(4096, 0))
        self._entries, self._start = directory(file, where)
        self.sizes = {entry.orig_filename: entry.file_size for entry in self._entries}
        refuse_forms(where, set(self.sizes), NEEDED)

    def member(self, name: str) -> bytes:
        member = found(self._read, self._where, self._entries, self._start, name)
        refuse_large(member, name, self._where)

        def pieces() -> Iterator[bytes]:
            for place in range(0, member.packed, CHUNK):
                yield self._read(min(CHUNK, member.packed - place), member.offset + place)

        whole = unpacked(pieces(), member, self._where)
        return b"".join(map(bytes, verified(whole, member, self._where, name)))

    def _read(self, count: int, offset: int) -> bytes:
        self._file.seek(offset)
        data: bytes = self._file.read(count)
        return data
