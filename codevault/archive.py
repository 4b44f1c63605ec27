"""The zip container of a checkpoint, as it is read: a table of members that is safe to map."""

from __future__ import annotations

import functools
import itertools
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from codevault.errors import CheckpointError, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

CHUNK: Final = 8 << 20
"""Bytes that are read or written at a time."""
MEMBERS: Final = 64
"""The most members that a checkpoint may have."""
DIRECTORY: Final = 4 << 20
"""The most bytes that a directory may have; `zipfile` makes an object of every 46 of them."""
LOCAL: Final = b"PK\x03\x04"
RESTORE: Final = "restore the file from a copy, or save the checkpoint again"


@dataclass(frozen=True, slots=True)
class Member:
    """Where one member's data lies in the file.

    Attributes:
        offset: First byte of the data in the file.
        size: Bytes of the data when unpacked.
        packed: Bytes of the data in the file.
        stored: True if the bytes in the file are the data; False if they are deflated.
        crc: CRC-32 of the data.
    """

    offset: int
    size: int
    packed: int
    stored: bool
    crc: int


class _Sparing:
    """What `zipfile` needs of a file, refusing to read more at once than a directory may have."""

    def __init__(self, file: Any, where: str) -> None:
        self.seek, self.tell, self._read, self._where = file.seek, file.tell, file.read, where

    def read(self, count: int = -1) -> bytes:
        if count > DIRECTORY:
            raise CheckpointError(
                f"{self._where} is not a checkpoint: it is a zip file with too many members",
                f"its directory has {count} bytes, and a checkpoint's at most {DIRECTORY}",
                RESTORE,
            )
        data: bytes = self._read(count if count >= 0 else DIRECTORY)
        return data


def directory(file: Any, where: str) -> tuple[list[zipfile.ZipInfo], int]:
    """Reads the central directory of an open zip: its entries, and the offset where it starts.

    Args:
        file: A seekable binary file.
        where: Its name, for messages.

    Raises:
        TruncatedError: The file starts like a zip, and its directory is missing or damaged.
        CheckpointError: The directory is larger than a checkpoint's can be.
    """
    sparing: Any = _Sparing(file, where)
    try:
        with zipfile.ZipFile(sparing) as archive:
            return archive.infolist(), archive.start_dir
    except CheckpointError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error) as e:
        raise TruncatedError(
            f"{where} is incomplete: a zip file without a readable directory at its end",
            f"{file.seek(0, os.SEEK_END)} bytes; {e}",
            "copy or download the file again, and compare its size with the original's",
        ) from None


def table(
    fd: int, where: str, entries: Sequence[zipfile.ZipInfo], start: int
) -> Mapping[str, Member]:
    """Turns directory entries into members whose place in the file was checked.

    Args:
        fd: The open file.
        where: The checkpoint, for messages.
        entries: What `directory` gave.
        start: Offset of the directory, where the last member must have ended.

    Raises:
        CheckpointError: Too many, encrypted, duplicate, overlapping or oddly named members.
        TruncatedError: A member reaches beyond the place where members end.
    """
    if len(entries) > MEMBERS:
        raise CheckpointError(
            f"{where} has {len(entries)} members, and a checkpoint has at most {MEMBERS}",
            "no codevault wrote this file",
            RESTORE,
        )
    members: dict[str, Member] = {}
    end, last = 0, "the start of the file"
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        name = entry.orig_filename
        fault = _fault(entry, name in members)
        if fault:
            raise CheckpointError(f"{where} has a member {name!r} that {fault}", "", RESTORE)
        if entry.header_offset < end:
            raise CheckpointError(
                f"{where} has members that overlap",
                f"{name!r} starts at byte {entry.header_offset}, inside {last!r}",
                RESTORE,
            )
        members[name] = _located(functools.partial(os.pread, fd), entry, start, where)
        end, last = members[name].offset + entry.compress_size, name
    return members


def found(
    read_at: Callable[[int, int], bytes],
    where: str,
    entries: Sequence[zipfile.ZipInfo],
    start: int,
    name: str,
) -> Member:
    """One of the entries' members, without a look at the others; otherwise as `table`."""
    mine = [entry for entry in entries if entry.orig_filename == name]
    fault = _fault(mine[0], len(mine) > 1)
    if fault:
        raise CheckpointError(f"{where} has a member {name!r} that {fault}", "", RESTORE)
    return _located(read_at, mine[0], start, where)


def _fault(entry: zipfile.ZipInfo, seen: bool) -> str:
    """What forbids this directory entry, or the empty string."""
    name = entry.orig_filename
    if seen:
        return "is in the directory twice"
    if entry.flag_bits & 0x2041:
        return "is encrypted"
    if name.startswith("/") or ".." in name.split("/") or set(name) & set("\\\0:") or not name:
        return "has no plain relative name"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is compressed by method {entry.compress_type}; repack the file with `zip -0`"
    if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size != entry.file_size:
        return "states two sizes for the same stored bytes"
    # Deflate makes at most 1032 bytes of one, and never doubles what it packs.
    low, high = entry.compress_size // 2 - 4096, 1032 * (entry.compress_size + 1)
    if entry.compress_type == zipfile.ZIP_DEFLATED and not low <= entry.file_size <= high:
        return "states another size than its deflated bytes can have"
    return ""


def _located(
    read_at: Callable[[int, int], bytes], entry: zipfile.ZipInfo, start: int, where: str
) -> Member:
    # The length of the extra field of the LOCAL header counts: the directory's may differ.
    header = read_at(30, entry.header_offset) if 0 <= entry.header_offset < start else b""
    if len(header) == 30 and header.startswith(LOCAL):
        method, name_length, extra_length = (
            *struct.unpack_from("<H", header, 8),
            *struct.unpack_from("<HH", header, 26),
        )
        name = read_at(name_length, entry.header_offset + 30)
        if method == entry.compress_type and name in _encodings(entry.orig_filename):
            offset = entry.header_offset + 30 + name_length + extra_length
            packed = entry.compress_size
            if offset + packed > start:
                raise TruncatedError(
                    f"{where} is damaged: {entry.orig_filename!r} reaches beyond the place where "
                    "its data must end",
                    f"byte {offset + packed} of {start}",
                    RESTORE,
                )
            stored = method == zipfile.ZIP_STORED
            return Member(offset, entry.file_size, packed, stored, entry.CRC)
    raise CheckpointError(
        f"{where} is damaged: the header of {entry.orig_filename!r} is not what the directory says",
        f"at byte {entry.header_offset}",
        RESTORE,
    )


def _encodings(name: str) -> set[bytes]:
    return {name.encode("utf-8", "replace"), name.encode("cp437", "replace")}


def chunks(fd: int, member: Member, where: str) -> Iterator[bytes | memoryview]:
    """Reads a member in pieces; each is valid until the next one is asked for.

    Raises:
        TruncatedError: The file ends before the member does.
        CheckpointError: The deflated bytes cannot be inflated to the stated size.
    """
    return unpacked(_pieces(fd, member, where), member, where)


def unpacked(
    pieces: Iterable[bytes | memoryview], member: Member, where: str
) -> Iterator[bytes | memoryview]:
    """The data of a member whose bytes in the file are `pieces`; as `chunks`."""
    if member.stored:
        yield from pieces
        return
    inflate, given = zlib.decompressobj(-15), 0
    try:
        # The empty piece at the end asks for what inflating may have held back.
        for piece in itertools.chain(pieces, [b""]):
            rest: bytes | memoryview = piece
            while given <= member.size:
                # One byte more than stated is enough to see that there is too much.
                data = inflate.decompress(rest, min(CHUNK, member.size - given + 1))
                rest, given = inflate.unconsumed_tail, given + len(data)
                if not data or given > member.size:
                    break
                yield data
    except zlib.error as error:
        raise CheckpointError(f"{where} has damaged deflated data", str(error), RESTORE) from None
    if given != member.size or not inflate.eof:
        raise CheckpointError(
            f"{where} has deflated data of another size than its directory says",
            f"{member.size} bytes are stated",
            RESTORE,
        )


def _pieces(fd: int, member: Member, where: str) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(CHUNK, max(member.packed, 1))))
    place, end = member.offset, member.offset + member.packed
    while place < end:
        count = os.preadv(fd, [buffer[: end - place]], place)
        if not count:
            raise TruncatedError(f"{where} became shorter while it was read", "", RESTORE)
        place += count
        yield buffer[:count]
