"""Git objects as bytes: their ids, and the packs of whole objects that travel in checkpoints.

The packs come from checkpoints, which anybody can write: they are read by this strict, bounded
reader (no deltas, no trailing bytes), not by a git library. Objects of a repository are read by
dulwich.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import TYPE_CHECKING, NamedTuple

from codevault_cache.errors import HostileObject
from codevault_cache.limits import FILES, OBJECTS_BYTES, TOTAL_BYTES, refuse_above
from codevault_cache.packfile import KINDS, body_of, count_of, entry_at, inflated

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NUMBERS = {kind: number for number, kind in KINDS.items()}
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


class TreeEntry(NamedTuple):
    """One line of a git tree; there are many, and a tuple is made in a third of the time."""

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
    pack = memoryview(data)
    # Which hash the repository uses is told by the trailer.
    sha256 = len(data) > 32 and hashlib.sha256(pack[:-32]).digest() == data[-32:]
    body = body_of(pack, sha256=sha256)
    count, at, total = count_of(body), 12, 0
    refuse_above(FILES * 2, count, "git objects")
    objects: dict[str, tuple[str, bytes]] = {}
    for _ in range(count):
        entry = entry_at(body, at, 32 if sha256 else 20)
        if entry.base is not None:
            raise HostileObject(
                "The git objects in the checkpoint hold deltas.", "Only whole objects travel."
            )
        total += entry.size
        refuse_above(TOTAL_BYTES // 4, total, "bytes of inflated git objects")
        kind, found = KINDS[entry.number], inflated(body, entry)
        objects[object_id(kind, found, sha256=sha256)] = (kind, found)
        at = entry.end
    if at != len(body):
        raise HostileObject("The last object of a git pack is followed by other bytes.", "")
    return objects
