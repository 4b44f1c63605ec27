"""The `.mpt` checkpoint file: what is in it, and how it is written; needs no torch to be read."""

from __future__ import annotations

import binascii
import hashlib
import os
import shlex
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from codevault.archive import RESTORE, Member, chunks, directory, table
from codevault.errors import CaptureError, CheckpointError, MissingCheckpointError
from codevault.fileforms import refuse_forms, refuse_strangers
from codevault.manifest import Manifest, parse
from codevault.uri import local_path, shown
from codevault.writer import Bytes, Payload, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MANIFEST: Final = "manifest.json"
ARCHITECTURE: Final = "policy_architecture.yaml"
WEIGHTS: Final = "weights.safetensors"
PROBE: Final = "probe.safetensors"
PACK: Final = "code.pack"
DIFF: Final = "code.diff"
PAGE: Final = 4096
"""The weights start at a multiple of this many bytes in the file, so that they can be mapped."""
NEEDED: Final = (MANIFEST, ARCHITECTURE, WEIGHTS)
_LIMITS: Final = {
    MANIFEST: 16 << 20,
    ARCHITECTURE: 16 << 20,
    # What the objects hold is bounded where they are read; this leaves room for their headers.
    PACK: 65 << 20,
    DIFF: 64 << 20,
    PROBE: 1 << 30,
}
"""The most bytes of each member that is read into memory."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was opened and found sound; it holds no file handle to close.

    Attributes:
        path: The file.
        manifest: What the checkpoint says of itself.
        members: Where each member's data lies in the file.
        identity: Device, inode, size and modification time (ns) of the file that was opened.
    """

    path: str
    manifest: Manifest
    members: Mapping[str, Member]
    identity: tuple[int, int, int, int]

    def objects(self) -> bytes | None:
        """The git objects that travel in it, or None; raises CheckpointError if damaged."""
        return read_member(self, PACK) if PACK in self.members else None


def open_checkpoint(path: str | os.PathLike[str], uri: str | os.PathLike[str] = "") -> Checkpoint:
    """Opens a checkpoint: reads its manifest and checks where its members lie, not their content.

    Errors name `uri`, where the file is a copy of what lies there and no secret is in it.

    Raises:
        MissingCheckpointError: There is no such file.
        CheckpointError: The file is no checkpoint, or is a damaged one.
        TruncatedError: The file ends too early.
        LegacyFormError: The file is a checkpoint of another kind, which `codevault convert` reads.
        FormatVersionError: The checkpoint is newer than this codevault.
    """
    path = os.fspath(path)
    where = str(uri) if uri and local_path(uri) is None and shown(uri) == str(uri) else path
    fd = _open(path)
    try:
        status = os.fstat(fd)
        head = os.pread(fd, 4096, 0) if stat.S_ISREG(status.st_mode) else b""
        refuse_strangers(where, status.st_mode, head)
        with open(fd, "rb", closefd=False) as file:
            entries, start = directory(file, where)
        refuse_forms(where, {entry.orig_filename for entry in entries}, NEEDED)
        members = table(fd, where, entries, start)
        refuse_large(members[MANIFEST], MANIFEST, where)
        pieces = verified(chunks(fd, members[MANIFEST], where), members[MANIFEST], where, MANIFEST)
        manifest = parse(b"".join(map(bytes, pieces)), where)
        return Checkpoint(path, manifest, members, _identity(status))
    except OSError as error:
        raise _unreadable(where, error) from error
    finally:
        os.close(fd)


def open_file(checkpoint: Checkpoint) -> int:
    """Opens the checkpoint's file for reading, if it still is the one whose members are known.

    Returns:
        A file descriptor, which the caller closes.

    Raises:
        CheckpointError: The file is gone, or another one took its place.
    """
    fd = _open(checkpoint.path)
    if _identity(os.fstat(fd)) != checkpoint.identity:
        os.close(fd)
        raise CheckpointError(
            f"{checkpoint.path} was replaced or changed while it was being loaded",
            "a trainer that saves under the same name does this",
            "load it again; evaluate checkpoints under names that are written once",
        )
    return fd


def read_member(checkpoint: Checkpoint, name: str) -> bytes:
    """Reads one member, checked against its CRC-32 and, where the manifest has one, its sha256.

    Raises:
        CheckpointError: There is no such member, its bytes are not those that were saved, or they
            are more than fit into memory.
    """
    if name in checkpoint.members:
        refuse_large(checkpoint.members[name], name, checkpoint.path)
    return b"".join(map(bytes, _pieces(checkpoint, name)))


def check_member(checkpoint: Checkpoint, name: str) -> None:
    """Checks what `read_member` does, piece by piece."""
    any(False for _ in _pieces(checkpoint, name))


def refuse_large(member: Member, name: str, where: str) -> None:
    """Raises CheckpointError for a member that is larger than what is read into memory."""
    # Weights are mapped; those that a foreign tool deflated are read, and they hardly deflate.
    limit = _LIMITS.get(name, max(1 << 30, 16 * member.packed) if name == WEIGHTS else 64 << 20)
    if member.size > limit:
        raise CheckpointError(
            f"{where} has a {name} that is too large",
            f"{member.size:,} bytes, and at most {limit:,} are read",
            RESTORE,
        )


def verified(
    pieces: Iterator[bytes | memoryview], member: Member, where: str, name: str, digest: str = ""
) -> Iterator[bytes | memoryview]:
    """Passes a member's pieces on; raises CheckpointError at their end if they are others."""
    crc, sha256 = 0, hashlib.sha256()
    for piece in pieces:
        crc = binascii.crc32(piece, crc)
        if digest:
            sha256.update(piece)
        yield piece
    if crc != member.crc or (digest and sha256.hexdigest() != digest):
        stated = f"CRC-32 is not {member.crc:08x}, which the file states"
        if crc == member.crc:
            stated = f"sha256 is not {digest}, which the manifest states"
        raise CheckpointError(
            f"{where} is damaged: {name} is not what was saved", f"its {stated}", RESTORE
        )


def digests(manifest: Manifest) -> Mapping[str, str]:
    """The sha256 of each member that the manifest vouches for, by member name."""
    stated = {ARCHITECTURE: manifest.architecture, WEIGHTS: manifest.weights}
    return stated | ({PROBE: manifest.probe.sha256} if manifest.probe else {})


def write_checkpoint(
    path: str | os.PathLike[str],
    *,
    manifest: Manifest,
    architecture: bytes,
    weights: Payload,
    probe: bytes | None = None,
    pack: bytes | None = None,
    diff: bytes | None = None,
) -> None:
    """Writes a checkpoint atomically: the file is whole, or what was there before stays.

    Args:
        path: The file; one of that name is replaced, and stays valid for those that have it open.
        manifest: States the sha256 of architecture, weights and probe.
        architecture: The `policy_architecture.yaml`.
        weights: What `weights.prepare` gave.
        probe: The bytes of `probe.to_bytes`.
        pack: git objects that travel in the file.
        diff: The same as a diff for people.

    Raises:
        CheckpointError: The folder is missing, or the file cannot be written there.
        CaptureError: The weights changed meanwhile, or a part could not be read again.
    """
    where = os.fspath(path)
    try:
        text = manifest.to_json()
        parse(text, where)
    except (ValueError, RecursionError) as error:
        why = error.why if isinstance(error, CheckpointError) else str(error)
        raise CaptureError(f"{where} was not written: no manifest can hold this", why) from error
    given = {ARCHITECTURE: architecture, PROBE: probe}
    for name, digest in digests(manifest).items():
        data = given.get(name)
        if name != WEIGHTS and (data is None or hashlib.sha256(data).hexdigest() != digest):
            raise CaptureError(f"{where} was not written: the manifest describes another {name}")
    optional = ((PROBE, probe), (PACK, pack), (DIFF, diff))
    for name, data in ((MANIFEST, text), (ARCHITECTURE, architecture), *optional):
        if data is not None and len(data) > _LIMITS[name]:
            raise CaptureError(
                f"{where} was not written: its {name} would be too large to be read",
                f"{len(data):,} bytes, and at most {_LIMITS[name]:,} are read",
            )
    first = [(MANIFEST, Bytes(text), 1), (ARCHITECTURE, Bytes(architecture), 1)]
    last = [(name, Bytes(data), 1) for name, data in optional if data is not None]
    write(where, [*first, (WEIGHTS, weights, PAGE), *last])


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _open(where: str) -> int:
    try:
        # Without O_NONBLOCK a named pipe would wait for a writer for ever.
        return os.open(where, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise _unreadable(where, error) from error


def _unreadable(where: str, error: Exception) -> CheckpointError:
    kind = MissingCheckpointError if isinstance(error, FileNotFoundError) else CheckpointError
    folder = shlex.quote(os.path.dirname(where) or ".")
    return kind(f"{where} cannot be opened", str(error), f"ls -l {folder}")


def _pieces(checkpoint: Checkpoint, name: str) -> Iterator[bytes | memoryview]:
    where, member = checkpoint.path, checkpoint.members.get(name)
    if member is None:
        there = ", ".join(sorted(checkpoint.members))
        raise CheckpointError(f"{where} has no {name}", f"it has {there}", RESTORE)
    digest = digests(checkpoint.manifest).get(name, "")
    fd = open_file(checkpoint)
    try:
        yield from verified(chunks(fd, member, where), member, where, name, digest)
    except OSError as error:
        raise _unreadable(where, error) from error
    finally:
        os.close(fd)
