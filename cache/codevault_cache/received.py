"""A pack that a server sent: its objects, named by their hashes, and an index of it for the store.

Each object is inflated once and hashed once. What is small stays in memory for the reader that
asked for it; the pack goes into the store as it came.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from codevault_cache.errors import HostileObject
from codevault_cache.limits import (
    DELTA_BYTES,
    HELD_BYTES,
    INFLATED_BYTES,
    PACK_OBJECTS,
    refuse_above,
)
from codevault_cache.packfile import KINDS, Entry, body_of, contents, count_of, entry_at, inflated

if TYPE_CHECKING:
    from collections.abc import Mapping

_SMALL = HELD_BYTES // 16
"""Larger objects are hashed as they are inflated, and not held."""


@dataclass(slots=True)
class Received:
    """What has been read of a pack so far.

    Attributes:
        body: The pack without its trailer.
        sha256: Whether the repository's ids are SHA-256.
        objects: Object id to kind and content; large ones, and those above a limit, are left out.
        places: Object id to offset and CRC-32 of its entry, for all objects.
    """

    body: memoryview
    sha256: bool
    objects: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    places: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    _deltas: dict[int, bytes] = field(default_factory=dict)
    _inflated: int = 0
    _held: int = 0

    def whole(self, entry: Entry, oid: bytes) -> bytes:
        """A whole object's content, which is inflated again where it is not held."""
        held = self.objects.get(oid.hex())
        if held is not None:
            return held[1]
        refuse_above(DELTA_BYTES, entry.size, "bytes in the base of a delta")
        return inflated(self.body, entry)

    def read(self, entry: Entry) -> bytes | None:
        """Inflate an entry; give the id of a whole object, and None for a delta."""
        self._spend(entry.size)
        if entry.number not in KINDS:
            refuse_above(DELTA_BYTES, entry.size, "bytes in one delta of a git pack")
            delta = inflated(self.body, entry)
            if self._room(delta):
                self._deltas[entry.offset] = delta
            return None
        kind = KINDS[entry.number]
        if entry.size <= _SMALL:
            return self._add(entry, kind, inflated(self.body, entry))
        total = self._hash(kind, entry.size)
        for piece in contents(self.body, entry):
            total.update(piece)
        return self._place(entry, total.digest())

    def resolve(self, entry: Entry, kind: str, base: bytes) -> tuple[bytes, bytes]:
        """Make the object that a delta describes; give its id and content."""
        delta = self._deltas.pop(entry.offset, None)
        if delta is None:
            delta = inflated(self.body, entry)
        else:
            self._held -= len(delta)
        made = applied(base, delta)
        self._spend(len(made))
        return self._add(entry, kind, made), made

    def _add(self, entry: Entry, kind: str, found: bytes) -> bytes:
        total = self._hash(kind, len(found))
        total.update(found)
        oid = self._place(entry, total.digest())
        if len(found) <= _SMALL and self._room(found):
            self.objects[oid.hex()] = kind, found
        return oid

    def _hash(self, kind: str, size: int) -> hashlib._Hash:
        head = f"{kind} {size}\0".encode()
        return hashlib.sha256(head) if self.sha256 else _sha1(head)

    def _place(self, entry: Entry, oid: bytes) -> bytes:
        self.places[oid] = entry.offset, zlib.crc32(self.body[entry.offset : entry.end])
        return oid

    def _spend(self, size: int) -> None:
        self._inflated += size
        refuse_above(INFLATED_BYTES, self._inflated, "bytes of inflated git objects")

    def _room(self, found: bytes) -> bool:
        if self._held + len(found) > HELD_BYTES:
            return False
        self._held += len(found)
        return True


def receive(pack: memoryview, *, sha256: bool) -> tuple[Mapping[str, tuple[str, bytes]], bytes]:
    """Read a pack that must be complete in itself.

    Args:
        pack: All its bytes.
        sha256: Whether the repository's ids are SHA-256.

    Returns:
        Object id to kind and content, without large objects; and the pack's index (version 2).

    Raises:
        HostileObject: No honest server sends such a pack.
        TooLarge: It inflates beyond the limits.
    """
    body = body_of(pack, sha256=sha256)
    id_bytes = len(pack) - len(body)
    got = Received(body, sha256)
    count, at = count_of(body), 12
    refuse_above(PACK_OBJECTS, count, "objects in one git pack")
    wholes: list[tuple[Entry, bytes]] = []
    deltas: dict[int | bytes, list[Entry]] = {}
    for _ in range(count):
        entry = entry_at(body, at, id_bytes)
        oid = got.read(entry)
        if oid is not None:
            wholes.append((entry, oid))
        elif entry.base is not None:
            deltas.setdefault(entry.base, []).append(entry)
        at = entry.end
    if at != len(body):
        raise HostileObject("The last object of a git pack is followed by other bytes.", "")
    for entry, oid in wholes:
        _resolve(got, entry, oid, deltas)
    if deltas:
        raise HostileObject(
            "A git pack is not complete.", f"{len(deltas)} objects are missing that deltas need."
        )
    return got.objects, _index(got.places, bytes(pack[-id_bytes:]))


def _resolve(
    got: Received, whole: Entry, oid: bytes, deltas: dict[int | bytes, list[Entry]]
) -> None:
    """Make all objects that build on a whole one, directly or not."""
    waiting = deltas.pop(whole.offset, []) + deltas.pop(oid, [])
    if not waiting:
        return
    # No recursion: chains may be long. A base is let go of with the last that builds on it.
    kind = KINDS[whole.number]
    stack = [(got.whole(whole, oid), waiting)]
    while stack:
        base, waiting = stack[-1]
        entry = waiting.pop()
        if not waiting:
            stack.pop()
        oid, made = got.resolve(entry, kind, base)
        waiting = deltas.pop(entry.offset, []) + deltas.pop(oid, [])
        if waiting:
            stack.append((made, waiting))


def applied(base: bytes, delta: bytes) -> bytes:
    """Apply a delta.

    Args:
        base: What it builds on.
        delta: Its instructions.

    Returns:
        The content it describes.

    Raises:
        HostileObject: It is malformed, or for another base.
        TooLarge: The result is larger than git makes deltas of.
    """
    from dulwich.errors import ApplyDeltaError
    from dulwich.pack import apply_delta

    expected, at = _number(delta, 0)
    size, _ = _number(delta, at)
    # Before the library makes room for it.
    refuse_above(DELTA_BYTES, size, "bytes in one object of a git pack")
    try:
        made = b"".join(apply_delta(base, delta))
    except (ApplyDeltaError, ValueError, AssertionError) as error:
        raise HostileObject("A delta in a git pack is malformed.", str(error)) from None
    if expected != len(base) or len(made) != size:
        raise HostileObject("A delta in a git pack lies about its size.", "")
    return made


def _number(delta: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(delta) and shift < 49:
        byte = delta[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
    raise HostileObject("A delta in a git pack lies about its size.", "")


def _index(places: Mapping[bytes, tuple[int, int]], checksum: bytes) -> bytes:
    """An index of version 2, as git writes it."""
    oids = sorted(places)
    fan = [0] * 256
    for oid in oids:
        fan[oid[0]] += 1
    rows = [places[oid] for oid in oids]
    # Offsets of 31 bits lie in the table; longer ones in a table of their own, by number.
    far = [offset for offset, _ in rows if offset >> 31]
    number = {offset: 1 << 31 | i for i, offset in enumerate(far)}
    offsets = [number.get(offset, offset) for offset, _ in rows]
    table = b"".join(
        (
            b"\xfftOc\x00\x00\x00\x02",
            struct.pack(">256L", *accumulate(fan)),
            *oids,
            struct.pack(f">{len(rows)}L", *(crc for _, crc in rows)),
            struct.pack(f">{len(rows)}L", *offsets),
            struct.pack(f">{len(far)}Q", *far),
            checksum,
        )
    )
    total = hashlib.sha256(table) if len(checksum) == 32 else _sha1(table)
    return table + total.digest()


def _sha1(head: bytes) -> hashlib._Hash:
    return hashlib.sha1(head, usedforsecurity=False)
