"""Git objects as bytes: their ids, and the packs of whole objects that travel in checkpoints.

The packs come from checkpoints, which anybody can write: they are read by this strict, bounded
reader (no deltas, no
trailing bytes), not by a git library. Objects of a repository are read by dulwich.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault_cache.errors import HostileObject
from codevault_cache.limits import FILES, OBJECTS_BYTES, TOTAL_BYTES, refuse_above

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
_NUMBERS = {kind: number for number, kind in _KINDS.items()}
_CHUNK = 1 << 14
_TREE_LINE = re.compile(rb"tree ([0-9a-f]{40}|[0-9a-f]{64})\n")

TREE, GITLINK, LINK = 0o040000, 0o160000, 0o120000
_MODES = {
    b"100644": 0o100644,
    b"100755": 0o100755,
    b"100664": 0o100644,  # git itself wrote this one until 2005, and reads it as 100644
    b"40000": TREE,
    b"120000": LINK,
    b"160000": GITLINK,
}


def object_id(kind: str, content: bytes, *, sha256: bool = False) -> str:
    """The id that git gives an object."""
    total = hashlib.sha256() if sha256 else hashlib.sha1(usedforsecurity=False)
    total.update(f"{kind} {len(content)}\0".encode())
    total.update(content)
    return total.hexdigest()


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One line of a git tree."""

    name: str
    mode: int
    oid: str


def parse_tree(raw: bytes, oid_bytes: int) -> list[TreeEntry]:
    """Read a tree object strictly.

    Names are decoded with surrogates where they are not UTF-8; whether a name is safe is decided
    where it is used.

    Args:
        raw: The object's content.
        oid_bytes: 20 for SHA-1, 32 for SHA-256 repositories.

    Returns:
        Its entries in order.

    Raises:
        HostileObject: No git writes such a tree.
    """
    entries: list[TreeEntry] = []
    names: set[bytes] = set()
    last = b""
    at = 0
    while at < len(raw):
        space = raw.find(b" ", at, at + 8)
        end = raw.find(b"\0", at)
        if space < 0 or end < space or end + 1 + oid_bytes > len(raw):
            raise HostileObject("A tree object of the repository is malformed.", f"At byte {at}.")
        mode = _MODES.get(raw[at:space])
        name = raw[space + 1 : end]
        oid = raw[end + 1 : end + 1 + oid_bytes]
        if mode is None:
            raise HostileObject(
                "A tree entry has a mode that git does not write.", ascii(raw[at:space])
            )
        key = name + b"/" if mode == TREE else name
        if name in names or key <= last:
            raise HostileObject(
                "A tree object repeats a name, or is not sorted.", ascii(name)[:200]
            )
        names.add(name)
        last = key
        entries.append(TreeEntry(name.decode("utf-8", "surrogateescape"), mode, oid.hex()))
        at = end + 1 + oid_bytes
    return entries


def tree_of_commit(raw: bytes) -> str:
    """The tree id in a commit's first line, which is where git looks.

    Raises:
        HostileObject: There is none.
    """
    match = _TREE_LINE.match(raw)
    if match is None:
        raise HostileObject("A commit object names no tree.", "")
    return match[1].decode()


def write_pack(objects: Iterable[tuple[str, bytes]], *, sha256: bool = False) -> bytes:
    """Write whole objects as a git pack; git reads it too.

    Args:
        objects: Kind and content of each.
        sha256: Whether the repository's ids are SHA-256.

    Returns:
        The pack; equal objects in equal order give equal bytes with one zlib.
    """
    items = list(objects)
    out = [b"PACK" + (2).to_bytes(4, "big") + len(items).to_bytes(4, "big")]
    for kind, content in items:
        size = len(content)
        first = (_NUMBERS[kind] << 4) | (size & 15)
        size >>= 4
        head = bytearray()
        while size:
            head.append(first | 0x80)
            first, size = size & 0x7F, size >> 7
        head.append(first)
        out.append(bytes(head) + zlib.compress(content, 9))
    body = b"".join(out)
    trailer = hashlib.sha256(body) if sha256 else hashlib.sha1(body, usedforsecurity=False)
    return body + trailer.digest()


def read_pack(data: bytes) -> Mapping[str, tuple[str, bytes]]:
    """Read a pack of whole objects.

    Args:
        data: The pack.

    Returns:
        Object id, computed from the content, to kind and content.

    Raises:
        HostileObject: The pack is malformed, or holds deltas, or has bytes to spare.
        TooLarge: It inflates beyond the limits.
    """
    refuse_above(OBJECTS_BYTES, len(data), "bytes of git objects")
    for sha256, trailer in ((False, 20), (True, 32)):
        body = data[:-trailer]
        total = hashlib.sha256(body) if sha256 else hashlib.sha1(body, usedforsecurity=False)
        if len(data) >= 12 + trailer and total.digest() == data[-trailer:]:
            return _read_objects(memoryview(body), sha256)
    raise HostileObject(
        "The git objects in the checkpoint are damaged.", "The pack's trailer is wrong."
    )


def _read_objects(body: memoryview, sha256: bool) -> Mapping[str, tuple[str, bytes]]:
    if bytes(body[:8]) != b"PACK\x00\x00\x00\x02":
        raise HostileObject("The git objects in the checkpoint are no pack.", "")
    count, at, inflated = int.from_bytes(body[8:12], "big"), 12, 0
    refuse_above(FILES * 2, count, "git objects")
    objects: dict[str, tuple[str, bytes]] = {}
    for _ in range(count):
        kind, size, at = _object_head(body, at)
        inflated += size
        refuse_above(TOTAL_BYTES // 4, inflated, "bytes of inflated git objects")
        content, at = _inflate(body, at, size)
        objects[object_id(kind, content, sha256=sha256)] = (kind, content)
    if at != len(body):
        raise HostileObject("The git objects in the checkpoint are followed by other bytes.", "")
    return objects


def _inflate(body: memoryview, at: int, size: int) -> tuple[bytes, int]:
    unzip, pieces, left = zlib.decompressobj(), [], size
    try:
        while not unzip.eof:
            feed = unzip.unconsumed_tail or bytes(body[at : at + _CHUNK])
            if not unzip.unconsumed_tail:
                at += len(feed)
            # One byte more than announced: a longer object is noticed without inflating it.
            piece = unzip.decompress(feed, left + 1)
            left -= len(piece)
            if left < 0 or not (feed or piece):
                raise HostileObject("A git object in the checkpoint lies about its size.", "")
            pieces.append(piece)
    except zlib.error as error:
        raise HostileObject("A git object in the checkpoint is damaged.", str(error)) from None
    if left:
        raise HostileObject("A git object in the checkpoint lies about its size.", "")
    return b"".join(pieces), at - len(unzip.unused_data)


def _object_head(body: memoryview, at: int) -> tuple[str, int, int]:
    try:
        byte = body[at]
        kind, size, shift = _KINDS.get(byte >> 4 & 7), byte & 15, 4
        while byte & 0x80:
            at += 1
            byte = body[at]
            size |= (byte & 0x7F) << shift
            shift += 7
            if shift > 40:
                raise HostileObject("A git object in the checkpoint lies about its size.", "")
    except IndexError:
        raise HostileObject("The git objects in the checkpoint are cut short.", "") from None
    if kind is None:
        raise HostileObject(
            "The git objects in the checkpoint hold deltas.", "Only whole objects travel."
        )
    return kind, size, at + 1
