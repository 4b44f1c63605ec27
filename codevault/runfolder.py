"""One run's folder of checkpoints: their names, what they say, and which of them are kept.

A checkpoint names the trainer's state that belongs to it: while an epoch is saved again, the state
of the one that is still there stays beside the new one.
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
import re
import shlex
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from codevault.errors import CaptureError, CheckpointError, MissingCheckpointError
from codevault.show import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence, Set

_NAME: Final = re.compile(r"epoch-(\d{8,})\.mpt")
_TRAINER: Final = re.compile(r"epoch-(\d{8,})\.[0-9a-f]{12}\.trainer")
_PARTIAL: Final = re.compile(
    r"\.codevault-[0-9a-f]{16}\.tmp|epoch-\d{8,}\.mpt\.\d+-[0-9a-f]{8}\.rehearsal"
)
_STALE: Final = 3600.0
"""Seconds after which a file that nobody wrote to is not being written."""


@dataclass(frozen=True, slots=True)
class RunCheckpoint:
    """One checkpoint of a run.

    Attributes:
        epoch: When it was saved.
        path: The `.mpt` file.
        metrics: What `save` was given.
        created: UTC time in ISO 8601.
        trainer: sha256 of the trainer's state that was saved with it; empty if it names none.
    """

    epoch: int
    path: str
    metrics: Mapping[str, float]
    created: str
    trainer: str = ""


@dataclass(frozen=True, slots=True)
class Keep:
    """Which checkpoints are kept: the newest `last` (None: all), and the `best` by `metric`."""

    last: int | None
    best: int
    metric: str
    mode: Literal["max", "min"]


def path_of(folder: str, epoch: int) -> str:
    """The checkpoint of an epoch."""
    return os.path.join(folder, f"epoch-{epoch:08d}.mpt")


def trainer_of(folder: str, epoch: int, digest: str) -> str:
    """The trainer's state of an epoch, by its sha256."""
    return os.path.join(folder, f"epoch-{epoch:08d}.{digest[:12]}.trainer")


def epochs(folder: str) -> list[int]:
    """The epochs that have a checkpoint, in order; none if there is no folder."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))


def numbered(epoch: int | None, known: Sequence[int]) -> int:
    """The epoch to save: the given one, or one more than the last of those that are `known`.

    Raises:
        CaptureError: It is no number under which a checkpoint would be found again.
    """
    if epoch is None:
        return [-1, *known][-1] + 1
    with contextlib.suppress(TypeError):
        if operator.index(epoch) >= 0:
            return operator.index(epoch)
    raise CaptureError(
        f"epoch={epoch!r} is no epoch",
        "epochs are whole numbers, from 0 on",
        "run.save(policy, optimizer)  # one more than the last",
    )


def make(folder: str) -> None:
    """Makes a run's folder, unless it is there.

    Raises:
        CheckpointError: It cannot be made.
    """
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        hint = f"ls -ld {shlex.quote(folder)} {shlex.quote(os.path.dirname(folder) or '.')}"
        raise CheckpointError(f"{folder} cannot be made", str(error), hint) from error


def described(folder: str, epoch: int) -> RunCheckpoint:
    """What the checkpoint of an epoch says; its weights are not opened.

    Raises:
        CheckpointError: It is damaged, or gone.
    """
    path = path_of(folder, epoch)
    manifest = read_manifest(path)
    metrics = {k: float(v) for k, v in manifest.metadata.get("metrics", {}).items()}
    trainer = str(manifest.metadata.get("trainer", ""))
    return RunCheckpoint(epoch, path, metrics, manifest.created, trainer)


def checkpoints(folder: str) -> tuple[RunCheckpoint, ...]:
    """What every checkpoint says, oldest first; without those that a trainer prunes meanwhile.

    Raises:
        CheckpointError: One is damaged.
    """
    found = []
    for epoch in epochs(folder):
        with contextlib.suppress(MissingCheckpointError):
            found.append(described(folder, epoch))
    return tuple(found)


@contextlib.contextmanager
def naming_earlier(folder: str, epoch: int) -> Iterator[None]:
    """Says of an epoch that cannot be read which one before it there is to go on from."""
    try:
        yield
    except CheckpointError as error:
        before = [known for known in epochs(folder) if known < epoch]
        if before:
            error.hint = f"run.resume(policy, optimizer, epoch={before[-1]})"
        raise


def recorded(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """Metrics as the manifest holds them: JSON has no infinities and no NaN.

    Raises:
        CaptureError: One is no number.
    """
    values = {name: _number(name, value) for name, value in metrics.items()}
    return {k: v if math.isfinite(v) else repr(v) for k, v in values.items()}


def _number(name: str, value: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        what = f"metrics[{name!r}] is no number, but a {type(value).__qualname__}"
        hint = "run.save(policy, optimizer, metrics={'score': 0.93})"
        raise CaptureError(what, str(error), hint) from None


def ranked(checkpoints: Sequence[RunCheckpoint], keep: Keep) -> list[RunCheckpoint]:
    """Those that have the metric, best first; of equal ones the newest first."""
    having = [c for c in checkpoints if not math.isnan(c.metrics.get(keep.metric, math.nan))]
    sign = 1 if keep.mode == "min" else -1
    return sorted(having, key=lambda c: (sign * c.metrics[keep.metric], -c.epoch))


def best(folder: str, keep: Keep) -> RunCheckpoint:
    """The best checkpoint.

    Raises:
        MissingCheckpointError: No checkpoint has the metric.
    """
    found = ranked(checkpoints(folder), keep)
    if not found:
        raise MissingCheckpointError(
            f"no checkpoint in {folder} has a {keep.metric!r}",
            "",
            f"save(policy, metrics={{{keep.metric!r}: value}})",
        )
    return found[0]


def prune(folder: str, keep: Keep, mine: Set[str]) -> None:
    """Deletes what no rule keeps: a checkpoint first, then its trainer's state.

    What a killed trainer left half written goes too, once nobody can be writing it any more:
    another process may save here as well, such as the one whose run was resumed. `mine` are the
    trainer's states that this one wrote.
    """
    there = epochs(folder)
    if keep.last is not None and len(there) > keep.last:
        found = [c for c in (_readable(folder, e) for e in there) if c] if keep.best else []
        kept = {*there[-keep.last :], *(c.epoch for c in ranked(found, keep)[: keep.best])}
        for epoch in set(there) - kept:
            _remove(path_of(folder, epoch))
    left, stale = set(epochs(folder)), time.time() - _STALE
    for epoch, states in _trainers(folder).items():
        used = states if epoch in left else []
        if len(used) > 1 and (named := _readable(folder, epoch)) is not None:
            # It was saved again: its checkpoint tells which one counts.
            used = [trainer_of(folder, epoch, named.trainer)]
        removed = epoch in there and epoch not in left
        for path in set(states) - set(used):
            if removed or path in mine or _written(path) < stale:
                _remove(path)
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if _PARTIAL.fullmatch(name) and _written(path) < stale:
            _remove(path)


def _readable(folder: str, epoch: int) -> RunCheckpoint | None:
    """As `described`; None for one that is damaged, or that another process took away."""
    try:
        return described(folder, epoch)
    except CheckpointError:
        return None


def _written(path: str) -> float:
    """When a file was last written to; never, if it is gone."""
    try:
        return os.lstat(path).st_mtime
    except FileNotFoundError:
        return -math.inf


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _trainers(folder: str) -> Mapping[int, list[str]]:
    """The files of trainers' states, by epoch."""
    found = defaultdict(list)
    for name in os.listdir(folder):
        if match := _TRAINER.fullmatch(name):
            found[int(match[1])].append(os.path.join(folder, name))
    return found
