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
from codevault.errors import CaptureError, CheckpointError
from codevault.forms import refuse_forms, refuse_strangers
from codevault.manifest import Manifest, parse
from codevault.writer import Bytes, Payload, write

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST: Final = "manifest.json"
ARCHITECTURE: Final = "policy_architecture.yaml"
WEIGHTS: Final = "weights.safetensors"
PROBE: Final = "probe.safetensors"
PACK: Final = "code.pack"
DIFF: Final = "code.diff"
PAGE: Final = 4096
"""The weights start at a multiple of this many bytes in the file, so that they can be mapped."""
_MANIFEST_LIMIT: Final = 16 << 20


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


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Opens a checkpoint: reads its manifest and checks where its members lie, not their content.

    Raises:
        CheckpointError: The file is missing, is no checkpoint, or is a damaged one.
        TruncatedError: The file ends too early.
        LegacyFormError: The file is a checkpoint of another kind, which `codevault convert` reads.
        FormatVersionError: The checkpoint is newer than this codevault.
    """
    where = os.fspath(path)
    fd = _open(where)
    try:
        status = os.fstat(fd)
        head = os.pread(fd, 4096, 0) if stat.S_ISREG(status.st_mode) else b""
        refuse_strangers(where, status, head)
        entries, start = directory(fd, where)
        refuse_forms(
            where, {entry.orig_filename for entry in entries}, (MANIFEST, ARCHITECTURE, WEIGHTS)
        )
        members = table(fd, where, entries, start)
        if members[MANIFEST].size > _MANIFEST_LIMIT:
            size = f"{members[MANIFEST].size} bytes; at most {_MANIFEST_LIMIT}"
            raise CheckpointError(f"{where} has a manifest that is too large", size, RESTORE)
        manifest = parse(_read(fd, members[MANIFEST], MANIFEST, where), where)
        return Checkpoint(where, manifest, members, _identity(status))
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
        CheckpointError: There is no such member, or its bytes are not those that were saved.
    """
    member = checkpoint.members.get(name)
    if member is None:
        there = ", ".join(sorted(checkpoint.members))
        raise CheckpointError(f"{checkpoint.path} has no {name}", f"it has {there}", RESTORE)
    fd = open_file(checkpoint)
    try:
        data = _read(fd, member, name, checkpoint.path)
    finally:
        os.close(fd)
    digest = digests(checkpoint.manifest).get(name)
    if digest and hashlib.sha256(data).hexdigest() != digest:
        raise CheckpointError(
            f"{checkpoint.path} has a {name} that is not the one that was saved",
            f"its sha256 is not {digest}, which the manifest states",
            RESTORE,
        )
    return data


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
        CaptureError: The weights changed meanwhile, or the manifest describes other bytes.
    """
    where = os.fspath(path)
    given = {ARCHITECTURE: architecture, PROBE: probe}
    for name, digest in digests(manifest).items():
        data = given.get(name)
        if name != WEIGHTS and (data is None or hashlib.sha256(data).hexdigest() != digest):
            raise CaptureError(f"{where} was not written: the manifest describes another {name}")
    optional = ((PROBE, probe), (PACK, pack), (DIFF, diff))
    write(
        where,
        [
            (MANIFEST, Bytes(manifest.to_json()), 1),
            (ARCHITECTURE, Bytes(architecture), 1),
            (WEIGHTS, weights, PAGE),
            *((name, Bytes(data), 1) for name, data in optional if data is not None),
        ],
    )


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _open(where: str) -> int:
    try:
        # Without O_NONBLOCK a named pipe would wait for a writer for ever.
        return os.open(where, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        folder = shlex.quote(os.path.dirname(where) or ".")
        raise CheckpointError(f"{where} cannot be opened", str(error), f"ls -l {folder}") from error


def _read(fd: int, member: Member, name: str, where: str) -> bytes:
    data = b"".join(map(bytes, chunks(fd, member, where)))
    if binascii.crc32(data) != member.crc:
        raise CheckpointError(
            f"{where} is damaged: {name} is not what was saved",
            f"its CRC-32 is not {member.crc:08x}",
            RESTORE,
        )
    return data
