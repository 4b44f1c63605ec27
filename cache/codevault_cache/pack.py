"""The source pack: all files of one snapshot in one file, named by the digest of their listing.

Layout of a `.cvs` file, nothing before, between or after:

    magic 8 bytes | header length u32 LE | header | bodies, raw, in the header's order

A header line is `<mode octal> <sha256> <length> <path>`, the path in its own bytes, by which the
lines are sorted. Offsets follow from the lengths, so that bodies cannot overlap and no byte is
without a meaning. Equal trees give equal packs.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault_cache.errors import CorruptEntry
from codevault_cache.limits import FILES, HEADER_BYTES, TOTAL_BYTES
from codevault_cache.treepaths import path_bytes, problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAGIC = b"CVSRC\x00\x00\x01"
LISTING = b"codevault-listing-1\n"
_LINE = re.compile(r"(100644|100755) ([0-9a-f]{64}) (0|[1-9][0-9]{0,11}) ([^\n]+)")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a pack: where its bytes are, and what they must hash to."""

    mode: int
    sha256: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Header:
    """A pack's table of contents.

    Attributes:
        members: Tree path to file, in the order of the bodies.
        digest: sha256 of the listing: the name that the pack must have.
        size: The exact length of the pack file.
    """

    members: Mapping[str, Member]
    digest: str
    size: int


def listing_digest(files: Iterable[tuple[str, int, str]]) -> str:
    """Digest of a listing.

    Args:
        files: Path, mode and sha256 of each file, in any order.

    Returns:
        sha256 of the canonical listing.
    """
    lines = sorted((path_bytes(path), f"{mode:o} {sha}") for path, mode, sha in files)
    total = hashlib.sha256(LISTING)
    for path, rest in lines:
        total.update(rest.encode() + b" " + path + b"\n")
    return total.hexdigest()


def encode(files: Mapping[str, tuple[int, bytes]]) -> tuple[str, Iterator[bytes]]:
    """Write a source pack.

    Args:
        files: Tree path to mode and content; paths are checked by the caller.

    Returns:
        The digest of the listing, and the pack in pieces.
    """
    order = sorted(files, key=path_bytes)
    shas = {path: hashlib.sha256(files[path][1]).hexdigest() for path in order}
    lines = [f"{files[p][0]:o} {shas[p]} {len(files[p][1])} {p}\n" for p in order]
    header = path_bytes("".join(lines))
    digest = listing_digest((path, files[path][0], shas[path]) for path in order)

    def pieces() -> Iterator[bytes]:
        yield MAGIC + len(header).to_bytes(4, "little") + header
        for path in order:
            yield files[path][1]

    return digest, pieces()


def header_length(start: bytes) -> int:
    """Length of the header, told by the first 12 bytes of a pack.

    Raises:
        CorruptEntry: This is no source pack.
    """
    length = int.from_bytes(start[8:12], "little")
    if len(start) < 12 or start[:8] != MAGIC or length > HEADER_BYTES:
        raise CorruptEntry("A source pack is damaged.", "It does not begin as source packs do.")
    return length


def parse_header(header: bytes) -> Header:
    """Read a header strictly.

    Args:
        header: Its bytes, without magic and length.

    Returns:
        The table of contents; whether the digest is the expected one is the caller's question.

    Raises:
        CorruptEntry: The header is not one that `encode` writes.
    """
    members: dict[str, Member] = {}
    total = hashlib.sha256(LISTING)
    offset, last = 12 + len(header), b""
    # A newline ends every sequence of bytes, so that lines are read as they would be alone.
    lines = header.decode("utf-8", "surrogateescape").split("\n")
    if lines.pop() != "" or len(lines) > FILES:
        raise CorruptEntry("A source pack is damaged.", "Its header is cut short.")
    encoded = str.encode if header.isascii() else path_bytes  # the quicker one for nearly all
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            raise CorruptEntry("A source pack is damaged.", "A line of its header is malformed.")
        mode, sha, length, path = match.groups()
        key = encoded(path)
        if key <= last or problem(path) is not None:
            raise CorruptEntry("A source pack is damaged.", "A path in it is unsafe or repeated.")
        last = key
        members[path] = Member(int(mode, 8), sha, offset, int(length))
        offset += int(length)
        total.update(encoded(f"{mode} {sha} {path}\n"))
    if offset > TOTAL_BYTES + HEADER_BYTES:
        raise CorruptEntry("A source pack is damaged.", "It claims to be larger than packs may be.")
    return Header(members, total.hexdigest(), offset)


def digest_of(files: Mapping[str, tuple[int, bytes]]) -> str:
    """The digest that files will have as a snapshot."""
    return listing_digest(
        (path, mode, hashlib.sha256(content).hexdigest()) for path, (mode, content) in files.items()
    )
