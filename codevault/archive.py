"""The zip container of a checkpoint, as it is read: a table of members that is safe to map."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from codevault.errors import CheckpointError, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CHUNK: Final = 8 << 20
"""Bytes that are read or written at a time."""
MEMBERS: Final = 64
"""The most members that a checkpoint may have."""
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


def directory(fd: int, where: str) -> tuple[list[zipfile.ZipInfo], int]:
    """Reads the central directory of an open zip: its entries, and the offset where it starts.

    Raises:
        TruncatedError: The file starts like a zip, and its directory is missing or damaged.
    """
    try:
        with open(fd, "rb", closefd=False) as file, zipfile.ZipFile(file) as archive:
            return archive.infolist(), archive.start_dir
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
        raise TruncatedError(
            f"{where} is incomplete: a zip file without a readable directory at its end",
            f"{os.fstat(fd).st_size} bytes; {error}",
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
        offset = _data_offset(fd, entry, where)
        end, last = offset + entry.compress_size, name
        if end > start:
            raise TruncatedError(
                f"{where} is damaged: {name!r} reaches beyond the place where its data must end",
                f"byte {end} of {start}",
                RESTORE,
            )
        stored = entry.compress_type == zipfile.ZIP_STORED
        members[name] = Member(offset, entry.file_size, entry.compress_size, stored, entry.CRC)
    return members


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
    return ""


def _data_offset(fd: int, entry: zipfile.ZipInfo, where: str) -> int:
    # The length of the extra field of the LOCAL header counts: the directory's may differ.
    header = os.pread(fd, 30, entry.header_offset) if entry.header_offset >= 0 else b""
    if len(header) == 30 and header.startswith(LOCAL):
        method, name_length, extra_length = (
            *struct.unpack_from("<H", header, 8),
            *struct.unpack_from("<HH", header, 26),
        )
        name = os.pread(fd, name_length, entry.header_offset + 30)
        if method == entry.compress_type and name in _encodings(entry.orig_filename):
            return int(entry.header_offset + 30 + name_length + extra_length)
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
    buffer = memoryview(bytearray(min(CHUNK, max(member.packed, 1))))
    inflate = None if member.stored else zlib.decompressobj(-15)
    place, end, given = member.offset, member.offset + member.packed, 0
    while place < end:
        count = os.preadv(fd, [buffer[: end - place]], place)
        if not count:
            raise TruncatedError(f"{where} became shorter while it was read", "", RESTORE)
        place += count
        if inflate is None:
            yield buffer[:count]
            continue
        try:
            # One byte more than stated is enough to see that there is too much.
            data = inflate.decompress(buffer[:count], member.size - given + 1)
        except zlib.error as error:
            raise CheckpointError(
                f"{where} has damaged deflated data", str(error), RESTORE
            ) from None
        given += len(data)
        if given > member.size:
            break
        yield data
    if inflate is not None and (given != member.size or not inflate.eof):
        raise CheckpointError(
            f"{where} has deflated data of another size than its directory says",
            f"{member.size} bytes are stated",
            RESTORE,
        )
