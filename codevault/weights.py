"""The weights of a checkpoint: laid out to be saved, verified, and mapped out of the file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import stat
import time
from typing import TYPE_CHECKING, Any, Final

import torch

from codevault import cpucopies as copying
from codevault import tensorfile
from codevault.archive import RESTORE, Member, chunks
from codevault.assignment import assign
from codevault.checkpoint import WEIGHTS, Checkpoint, open_file, read_member
from codevault.compilednames import named_as
from codevault.errors import CaptureError, CheckpointError, StateDictError, WeightsDigestError
from codevault.tensorfile import Prepared

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Prepared",
    "assign",
    "copied",
    "fill",
    "map_weights",
    "prepare",
    "verify_digest",
    "verify_digest_once",
]

_TIED: Final = "tied"


def prepare(state: Mapping[str, Any]) -> Prepared:
    """Lays out a state_dict to be saved; what it needs of memory is one tensor's contiguous copy.

    Tied entries (the same memory, shape and strides) are stored once, under the first name in
    alphabetical order; the header's metadata names the others.

    Args:
        state: A state_dict: name to tensor of any device.

    Raises:
        CaptureError: Entries that are no plain dense tensors, all of them named.
    """
    strangers = [
        f"{key} is a {type(value).__qualname__}"
        for key, value in state.items()
        if not isinstance(value, torch.Tensor)
    ]
    if strangers:
        raise CaptureError(
            f"the state_dict has {len(strangers)} entries that are no tensors",
            "; ".join(strangers[:10]),
            "register tensors as buffers, and pass other values to save_policy(metadata=...)",
        )
    first: dict[object, str] = {}
    tied: dict[str, str] = {}
    for name in sorted(state):
        same = _memory(state[name])
        if same is not None and first.setdefault(same, name) != name:
            tied[name] = first[same]
    stored = {name: tensor for name, tensor in state.items() if name not in tied}
    metadata = {_TIED: json.dumps(tied, sort_keys=True)} if tied else {}
    return tensorfile.prepare(stored, metadata)


def map_weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Maps the weights out of the file: tensors that read from the page cache, and copy on write.

    Nothing of the content is verified here: `verify_digest` does that. Tied entries are one tensor
    object. A member that a foreign tool deflated is read into memory instead.

    Raises:
        CheckpointError: The file changed since it was opened, or the tensors' header is damaged.
    """
    member, where = checkpoint.members[WEIGHTS], checkpoint.path
    if member.stored and member.size:
        buffer, start = _map(checkpoint, member)
    else:
        buffer, start = bytearray(read_member(checkpoint, WEIGHTS)), 0
    tensors, metadata = tensorfile.parse(buffer, start, member.size, where)
    try:
        tied = json.loads(metadata.get(_TIED, "{}"))
        return tensors | {alias: tensors[name] for alias, name in tied.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{where} has weights that name their tied entries wrongly", str(error), RESTORE
        ) from None


def verify_digest(checkpoint: Checkpoint) -> None:
    """Checks that the weights are the bytes that were saved, by their sha256.

    Raises:
        WeightsDigestError: They are not.
        CheckpointError: The file changed since it was opened, or is damaged.
    """
    fd = open_file(checkpoint)
    try:
        _verify(fd, checkpoint)
    finally:
        os.close(fd)


def verify_digest_once(checkpoint: Checkpoint, marks: str) -> None:
    """Does what `verify_digest` does, unless this very file was verified before.

    A file that was written to since has another modification or change time, and is verified again.

    Args:
        checkpoint: What to verify.
        marks: A folder of the user's own for the marks; one that cannot be used only means that
            the file is verified each time.

    Raises:
        WeightsDigestError: The weights are not the bytes that were saved.
        CheckpointError: The file changed since it was opened, or is damaged.
    """
    fd = open_file(checkpoint)
    try:
        before = os.fstat(fd)
        name = _mark(before, checkpoint)
        path = os.path.join(marks, name)
        if marks and _is_mark(path):
            return
        _verify(fd, checkpoint)
        if marks and _settled(before) and _mark(os.fstat(fd), checkpoint) == name:
            _leave(path)
    finally:
        os.close(fd)


def _memory(tensor: torch.Tensor) -> object:
    """What identifies a tensor's memory and view of it, or None where there is none to share."""
    if torch.nn.parameter.is_lazy(tensor) or tensorfile.refusal(tensor) or not tensor.numel():
        return None
    place = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.device)
    view = (tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.is_conj(), tensor.is_neg())
    return place, view


def copied(state: Mapping[str, Any], buffers: Mapping[str, Any]) -> dict[str, Any]:
    """Copies of a state_dict's tensors on the CPU; tied entries stay one tensor.

    Args:
        state: The state_dict.
        buffers: What an earlier call gave, and nobody needs any more: memory for the copies.
    """
    copies: dict[object, torch.Tensor] = {}
    made: dict[str, Any] = {}
    free = {id(buffer): buffer for buffer in buffers.values()}  # tied entries share one
    for name, value in state.items():
        if not isinstance(value, torch.Tensor) or tensorfile.refusal(value):
            made[name] = value  # `prepare` says what is wrong with it
            continue
        same = _memory(value) or name
        if same not in copies:
            copies[same] = copying.copied(value, free.pop(id(buffers.get(name)), None))
        made[name] = copies[same]
    return made


def fill(policy: torch.nn.Module, checkpoint: Checkpoint) -> None:
    """Copies a checkpoint's weights into a policy's own tensors, which an optimizer may hold.

    Raises:
        WeightsDigestError: The weights are not the bytes that were saved.
        StateDictError: They do not fit.
    """
    verify_digest(checkpoint)
    try:
        policy.load_state_dict(named_as(policy, map_weights(checkpoint)))
    except RuntimeError as error:
        raise StateDictError(
            f"the weights of {checkpoint.path} do not fit this {type(policy).__qualname__}",
            "; ".join(line.strip() for line in str(error).splitlines()[1:6]),
            f"codevault.load_policy({checkpoint.path!r})  # with its own code",
        ) from error


def _map(checkpoint: Checkpoint, member: Member) -> tuple[Any, int]:
    fd = open_file(checkpoint)
    try:
        # Reading ahead is worth 2x when the file is cold, and nothing when it is warm.
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, member.offset, member.size, os.POSIX_FADV_WILLNEED)
        skip = member.offset % mmap.ALLOCATIONGRANULARITY
        # Private and writable: what trains in place copies the pages that it writes.
        try:
            mapping = mmap.mmap(
                fd,
                member.size + skip,
                flags=mmap.MAP_PRIVATE,
                prot=mmap.PROT_READ | mmap.PROT_WRITE,
                offset=member.offset - skip,
            )
        except (OSError, ValueError) as error:  # it shrank meanwhile, or memory is short
            raise CheckpointError(
                f"the weights of {checkpoint.path} cannot be mapped", str(error), RESTORE
            ) from error
        return mapping, skip
    finally:
        os.close(fd)


def _verify(fd: int, checkpoint: Checkpoint) -> None:
    digest = hashlib.sha256()
    for chunk in chunks(fd, checkpoint.members[WEIGHTS], checkpoint.path):
        digest.update(chunk)
    if digest.hexdigest() != checkpoint.manifest.weights:
        raise WeightsDigestError(
            f"{checkpoint.path} has weights that are not the ones that were saved",
            f"sha256 {digest.hexdigest()}, and the manifest states {checkpoint.manifest.weights}",
            RESTORE,
        )


def _mark(status: os.stat_result, checkpoint: Checkpoint) -> str:
    # Nodes may share a home, and each reads a file by a way of its own.
    place = (os.uname().nodename, status.st_dev, status.st_ino, status.st_size)
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return hashlib.sha256(repr((place, times, checkpoint.manifest.weights)).encode()).hexdigest()


def _is_mark(path: str) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def _settled(status: os.stat_result) -> bool:
    """True if a write from now on must give the file another time than it has."""
    coarse = not status.st_mtime_ns % 1_000_000_000 and not status.st_ctime_ns % 1_000_000_000
    return abs(time.time_ns() - status.st_ctime_ns) > (2_000_000_000 if coarse else 50_000_000)


def _leave(path: str) -> None:
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
