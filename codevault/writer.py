"""The writer of a checkpoint's zip: exact offsets, equal bytes for equal input, atomic.

Follows PKWARE's APPNOTE 6.3.9. Padding before aligned data is an extra field of the local header
with the id 0xD935, as Android's zipalign writes it. `zipfile` is not used for writing: it adds a
Zip64 field of 20 bytes on its own account, after the padding was computed.
"""

from __future__ import annotations

import binascii
import contextlib
import os
import secrets
import shlex
import struct
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, Protocol

from codevault.archive import LOCAL
from codevault.errors import CaptureError, CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PADDING: Final = 0xD935
"""Id of the extra field that moves data to an aligned offset."""
_ZIP64, _LARGE = 0x0001, 0xFFFFFFFF


class Payload(Protocol):
    """Bytes of one member to write, whose size and CRC-32 are known beforehand."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    @property
    def crc(self) -> int:
        """CRC-32 of all bytes."""

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The bytes, in pieces that are valid until the next one is asked for."""


def local_header(name: str, payload: Payload, stamp: int, at: int, align: int) -> bytes:
    """The local header of a stored member that is written at offset `at`.

    Args:
        name: The member's name, ASCII.
        payload: What follows the header.
        stamp: DOS time and date, date in the upper 16 bits.
        at: Offset of the header in the file.
        align: The data starts at a multiple of this many bytes; 1 for anywhere.
    """
    large = payload.size >= _LARGE
    extra = struct.pack("<HHQQ", _ZIP64, 16, payload.size, payload.size) if large else b""
    if align > 1:
        gap = -(at + 30 + len(name) + len(extra) + 6) % align
        extra += struct.pack("<HHH", PADDING, 2 + gap, align) + bytes(gap)
    size = _LARGE if large else payload.size
    version = 45 if large else 20
    fixed = (LOCAL, version, 0, 0, stamp, payload.crc, size, size, len(name), len(extra))
    return struct.pack("<4s3H4I2H", *fixed) + name.encode("ascii") + extra


def central_header(name: str, payload: Payload, stamp: int, at: int) -> bytes:
    """The directory entry of a stored member whose local header is at offset `at`."""
    wide = [value for value in (payload.size, payload.size, at) if value >= _LARGE]
    extra = struct.pack(f"<HH{len(wide)}Q", _ZIP64, 8 * len(wide), *wide) if wide else b""
    size, version = min(payload.size, _LARGE), 45 if wide else 20
    # 3 << 8: made on Unix, so that the upper half of the attributes is a file mode.
    head = (b"PK\x01\x02", 3 << 8 | version, version, 0, 0, stamp, payload.crc, size, size)
    tail = (len(name), len(extra), 0, 0, 0, 0o100644 << 16, min(at, _LARGE))
    return struct.pack("<4s4H4I5H2I", *head, *tail) + name.encode("ascii") + extra


def directory_end(count: int, start: int, size: int) -> bytes:
    """The records after a directory of `count` entries and `size` bytes at offset `start`."""
    record = b""
    if start >= _LARGE:
        sizes = (44, 3 << 8 | 45, 45, 0, 0, count, count, size, start)
        record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", *sizes)
        record += struct.pack("<4sIQI", b"PK\x06\x07", 0, start + size, 1)
    sizes_small = (0, 0, count, count, size, min(start, _LARGE), 0)
    return record + struct.pack("<4s4H2IH", b"PK\x05\x06", *sizes_small)


def dos_stamp() -> int:
    """The date of every member, in DOS form: SOURCE_DATE_EPOCH, or 1980-01-01."""
    try:
        moment = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))
    except (KeyError, ValueError, OverflowError, OSError):
        # A trainer must not lose a checkpoint to a malformed variable.
        moment = time.gmtime(315532800)
    if not 1980 <= moment.tm_year <= 2107:
        moment = time.gmtime(315532800)
    date = (moment.tm_year - 1980) << 9 | moment.tm_mon << 5 | moment.tm_mday
    return date << 16 | moment.tm_hour << 11 | moment.tm_min << 5 | moment.tm_sec // 2


def write(path: str, members: Sequence[tuple[str, Payload, int]]) -> None:
    """Writes a zip of stored members as `replacing` does.

    Args:
        path: Where the file shall be.
        members: Name, content and alignment in bytes of each member, in order.

    Raises:
        CheckpointError: The folder is missing, or the file cannot be written there.
        CaptureError: A payload's bytes changed since its CRC-32 was computed.
    """
    with replacing(path) as file:
        _write_members(file, path, members)


@contextlib.contextmanager
def replacing(path: str) -> Iterator[IO[bytes]]:
    """A file beside `path` to write to, which is moved there when it is on disk.

    A file that was at `path` stays as it was until then, and for those that have it open or mapped.

    Raises:
        CheckpointError: The folder is missing, or the file cannot be written there.
    """
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise CheckpointError(
            f"{path} cannot be written: there is no folder {folder}",
            "",
            f"mkdir -p {shlex.quote(folder)}",
        )
    partial = os.path.join(folder, f".codevault-{secrets.token_hex(8)}.tmp")
    try:
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with open(fd, "wb", buffering=1 << 16) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            os.unlink(partial)
            raise
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written", str(error), f"df -h {shlex.quote(folder)}"
        ) from error


def _write_members(file: IO[bytes], path: str, members: Sequence[tuple[str, Payload, int]]) -> None:
    stamp, at, entries = dos_stamp(), 0, b""
    for name, payload, align in members:
        header = local_header(name, payload, stamp, at, align)
        entries += central_header(name, payload, stamp, at)
        file.write(header)
        crc = size = 0
        for chunk in payload.chunks():
            file.write(chunk)
            crc, size = binascii.crc32(chunk, crc), size + len(chunk)
        if (crc, size) != (payload.crc, payload.size):
            raise CaptureError(
                f"{path} was not written: {name} changed while it was being saved",
                "something, such as a training step in another thread, writes to the policy",
                "save between two steps, or save a copy.deepcopy of the policy",
            )
        at += len(header) + size
    file.write(entries + directory_end(len(members), at, len(entries)))


@dataclass(frozen=True, slots=True)
class Bytes:
    """A payload that is in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.data)

    @property
    def crc(self) -> int:
        """CRC-32 of all bytes."""
        return binascii.crc32(self.data)

    def chunks(self) -> Iterator[bytes | memoryview]:
        """All bytes at once."""
        yield self.data
