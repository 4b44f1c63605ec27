"""The entries of a git pack, read once: inflated within a budget, checked as they are read.

Packs come from servers and from checkpoints, which anybody can write. No check is an assertion, so
that `python -O` changes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault_cache.errors import HostileObject

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
OFFSET_DELTA, ID_DELTA = 6, 7

PIECE = 1 << 20
"""Contents longer than this are handed out in pieces of about this size."""


@dataclass(slots=True)
class Entry:
    """One entry of a pack, as it lies there.

    Attributes:
        number: Its kind: a key of `KINDS`, `OFFSET_DELTA` or `ID_DELTA`.
        size: Bytes of its content, which for a delta are instructions.
        offset: Where it begins in the pack.
        start: Where its compressed content begins.
        base: What a delta builds on: an offset, an object id, or None.
        end: Where it ends; known when its content was read to the end.
    """

    number: int
    size: int
    offset: int
    start: int
    base: int | bytes | None
    end: int = 0


def body_of(pack: memoryview, *, sha256: bool) -> memoryview:
    """The pack without its trailer, which must be the hash of the rest.

    Raises:
        HostileObject: It is not, or this is no pack.
    """
    total = hashlib.sha256() if sha256 else hashlib.sha1(usedforsecurity=False)
    length = total.digest_size
    if len(pack) < 12 + length or bytes(pack[:8]) != b"PACK\x00\x00\x00\x02":
        raise HostileObject("The bytes are no git pack.", ascii(bytes(pack[:40])))
    body = pack[:-length]
    total.update(body)
    if total.digest() != bytes(pack[-length:]):
        raise HostileObject("A git pack is damaged.", "Its trailer is not the hash of its bytes.")
    return body


def count_of(body: memoryview) -> int:
    """How many entries the pack says that it has."""
    return int.from_bytes(body[8:12], "big")


def entry_at(body: memoryview, offset: int, id_bytes: int) -> Entry:
    """Read the head of an entry.

    Args:
        body: The pack without its trailer.
        offset: Where the entry begins.
        id_bytes: 20 for SHA-1, 32 for SHA-256 repositories.

    Returns:
        The entry; its content is not looked at.

    Raises:
        HostileObject: It is malformed, or builds on what does not come before it.
    """
    try:
        byte, at, shift = body[offset], offset + 1, 4
        number, size = byte >> 4 & 7, byte & 15
        while byte & 0x80:
            byte = body[at]
            size |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if shift > 46:
                raise HostileObject("An object in a git pack lies about its size.", "")
        base: int | bytes | None = None
        if number == OFFSET_DELTA:
            byte = body[at]
            back, at = byte & 0x7F, at + 1
            while byte & 0x80:
                byte = body[at]
                back, at = (back + 1) << 7 | byte & 0x7F, at + 1
                if back > offset:
                    break
            base = offset - back
            if not 12 <= base < offset:
                raise HostileObject("A delta in a git pack builds on no earlier object.", "")
        elif number == ID_DELTA:
            base = bytes(body[at : at + id_bytes])
            at += id_bytes
        elif number not in KINDS:
            raise HostileObject("An object in a git pack is of no known kind.", str(number))
    except IndexError:
        raise HostileObject("A git pack is cut short.", "") from None
    return Entry(number, size, offset, at, base)


def inflated(body: memoryview, entry: Entry) -> bytes:
    """Inflate an entry's content; `contents` tells more."""
    # Nearly every object is small, and shorter in the pack than inflated: one call does.
    if entry.size <= PIECE:
        unzip = zlib.decompressobj()
        feed = body[entry.start : entry.start + entry.size + 64]
        with contextlib.suppress(zlib.error):
            found = unzip.decompress(feed, entry.size + 1)
            if unzip.eof and len(found) == entry.size:
                entry.end = entry.start + len(feed) - len(unzip.unused_data)
                return found
    return b"".join(contents(body, entry))


def contents(body: memoryview, entry: Entry) -> Iterator[bytes]:
    """Inflate an entry's content; its end is known afterwards.

    Args:
        body: The pack without its trailer.
        entry: The entry; `end` is set.

    Yields:
        The content in pieces, no byte more than the entry says.

    Raises:
        HostileObject: It is damaged, or longer or shorter than the entry says.
    """
    unzip, at, left = zlib.decompressobj(), entry.start, entry.size
    feed = memoryview(b"")
    try:
        while not unzip.eof:
            if not feed:
                feed = body[at : at + PIECE]
                at += len(feed)
                if not feed:
                    raise HostileObject("A git pack is cut short.", "")
            # One byte more than announced: a longer object is noticed without inflating it.
            piece = unzip.decompress(feed, min(left, PIECE) + 1)
            feed = memoryview(unzip.unconsumed_tail)
            left -= len(piece)
            if left < 0:
                raise HostileObject("An object in a git pack lies about its size.", "")
            if piece:
                yield piece
    except zlib.error as error:
        raise HostileObject("An object in a git pack is damaged.", str(error)) from None
    if left:
        raise HostileObject("An object in a git pack lies about its size.", "")
    entry.end = at - len(unzip.unused_data)
