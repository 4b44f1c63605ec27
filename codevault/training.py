"""The checkpoints of one training run: saved behind the training, kept by rule, resumed exactly."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from codevault import runfolder, trainerstate, weights
from codevault.backgroundwriter import Behind
from codevault.captured import Selection
from codevault.checkpoint import open_checkpoint
from codevault.draft import Draft, draft, write
from codevault.errors import CodevaultError, MissingCheckpointError
from codevault.load import load_policy
from codevault.runfolder import Keep, RunCheckpoint, epochs, path_of, trainer_of
from codevault.unwrap import unwrap
from codevault.uri import target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codevault.captured import Captured
    from codevault.tensortree import Nest


@dataclass(frozen=True, slots=True)
class Resumed:
    """Where a run goes on.

    Attributes:
        policy: The policy with the weights of that epoch.
        epoch: The last epoch that was saved.
        metrics: What `save` was given.
        optimizer: The optimizer's state_dict, or None if none was saved.
        state: What `save` was given as `state`.
    """

    policy: Any
    epoch: int
    metrics: Mapping[str, float]
    optimizer: Mapping[str, Any] | None
    state: Any


class CheckpointManager:
    """Saves, keeps and resumes the checkpoints of one run, in one folder.

    The code of a run is captured at its first save, which is rehearsed: loaded in a fresh process
    before `save` returns. Every later save copies the weights and writes them in one thread behind
    the training; a file is whole or absent whenever the process dies. In distributed training, one
    rank saves.

    Args:
        run_dir: The folder, on a disk; made if it is missing.
        architecture: As for `save_policy`; so are `env`, `repo`, `roots`, `shared`, `include` and
            `probe`.
        keep_last: How many of the newest checkpoints are kept; None keeps all.
        keep_best: How many of the best by `metric` are kept besides.
        metric: The metric that decides which are best.
        mode: Whether the best have the highest ("max") or lowest ("min") values.
    """

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        *,
        architecture: Any = None,
        env: Any = None,
        repo: str | os.PathLike[str] | None = None,
        roots: Sequence[str] | None = None,
        shared: Sequence[str] | None = None,
        include: Sequence[str] | None = None,
        probe: Any = None,
        keep_last: int | None = None,
        keep_best: int = 0,
        metric: str = "score",
        mode: Literal["max", "min"] = "max",
    ) -> None:
        if mode not in ("max", "min") or keep_best < 0 or (keep_last is not None and keep_last < 1):
            raise CodevaultError(
                f"no checkpoints can be kept by keep_last={keep_last!r}, keep_best={keep_best!r}, "
                f"mode={mode!r}",
                "keep_last is None or at least 1, keep_best at least 0",
                'CheckpointManager(run_dir, keep_last=3, keep_best=1, metric="score", mode="max")',
            )
        self.run_dir = target(run_dir)
        self._architecture, self._env, self._probe = architecture, env, probe
        where = None if repo is None else os.fspath(repo)
        self._said = Selection(where, roots, shared, include)
        self._keep = Keep(keep_last, keep_best, metric, mode)
        self._code: Captured | None = None
        self._weights: Mapping[str, Any] = {}  # memory that each save copies into
        self._trainer: Mapping[str, Any] = {}
        self._states: set[str] = set()  # files of trainers' states that this manager wrote
        self._writer = Behind()

    def save(
        self,
        policy: Any,
        optimizer: Any = None,
        epoch: int | None = None,
        metrics: Mapping[str, float] | None = None,
        *,
        state: Any = None,
    ) -> str:
        """Saves the policy, and what `resume` needs to go on.

        It returns when everything has been copied; the file is there after the next `save`, `wait`
        or `close`, which also raise what went wrong with it.

        Args:
            policy: The policy.
            optimizer: Anything with `state_dict()`.
            epoch: None for one more than the last; an earlier checkpoint of it is replaced.
            metrics: Numbers by name, such as `{"score": 0.93}`.
            state: The trainer's own: plain data and tensors (counters, schedulers' state_dicts).

        Returns:
            The path of the `.mpt` file.

        Raises:
            CaptureError: Something cannot be written down.
            CheckpointError: This file, or the one before, could not be written.
        """
        self.wait()
        known = epochs(self.run_dir)
        number = runfolder.numbered(epoch, known)
        facts = {"epoch": number, "metrics": runfolder.recorded(metrics or {})}
        how = (self._architecture, self._env, self._said, self._probe)
        policy_part = draft(policy, *how, facts, embed=False, code=self._code)
        self._code = policy_part.code
        self._weights = weights.copied(policy_part.state, self._weights)
        policy_part = replace(policy_part, state=self._weights)
        saved = None if optimizer is None else optimizer.state_dict()
        trainer = trainerstate.packed(
            trainerstate.TrainerState(saved, trainerstate.generators(), state), self._trainer
        )
        self._trainer = trainer.tensors
        runfolder.make(self.run_dir)
        if known:
            self._writer.submit(self._write, number, policy_part, trainer)
        else:
            self._write(number, policy_part, trainer, rehearse=True)
        return path_of(self.run_dir, number)

    def wait(self) -> None:
        """Waits until the last save is on disk, and raises what went wrong with it."""
        self._writer.wait()

    def close(self) -> None:
        """Waits for the last save, and ends the writing thread; a further save starts another."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def checkpoints(self) -> tuple[RunCheckpoint, ...]:
        """The run's checkpoints, oldest first; their weights are not opened."""
        return runfolder.checkpoints(self.run_dir)

    def best(self) -> RunCheckpoint:
        """The best checkpoint by the run's metric.

        Raises:
            MissingCheckpointError: No checkpoint has that metric.
        """
        return runfolder.best(self.run_dir, self._keep)

    def load(self, epoch: int) -> Any:
        """The policy of an epoch, with the code it was saved with.

        Raises:
            MissingCheckpointError: There is no checkpoint of that epoch; further errors as
                `load_policy`.
        """
        return load_policy(path_of(self.run_dir, self._known(epoch)))

    def load_latest(self) -> Any:
        """The policy of the newest epoch, as `load`; if that is pruned meanwhile, of the next."""
        newest = self._known()
        try:
            return load_policy(path_of(self.run_dir, newest))
        except MissingCheckpointError:
            if self._known() == newest:
                raise
            return self.load_latest()

    def resume(
        self, policy: Any = None, optimizer: Any = None, *, epoch: int | None = None
    ) -> Resumed | None:
        """Goes on where the run stopped: weights, optimizer, random generators.

        Args:
            policy: Today's policy, whose parameters take the saved values in place; None loads
                the policy with the code it was saved with.
            optimizer: Takes the saved state in place.
            epoch: Which one to go back to; None goes on from the newest.

        Returns:
            What was saved; None for a run without checkpoints, where no epoch was named.

        Raises:
            MissingCheckpointError: There is no checkpoint of that epoch.
            CheckpointError: It or its trainer state cannot be read, or has no optimizer.
        """
        self.wait()
        if epoch is None and not epochs(self.run_dir):
            return None
        asked = self._known(epoch)
        with runfolder.naming_earlier(self.run_dir, asked):
            found = runfolder.described(self.run_dir, asked)
            path = trainer_of(self.run_dir, asked, found.trainer)
            trainer = trainerstate.read(path, found.trainer)
            if policy is None:
                policy = load_policy(found.path)
            else:
                weights.fill(unwrap(policy), open_checkpoint(found.path))
        if optimizer is not None:
            trainerstate.fill(optimizer, trainer, path)
        trainerstate.set_generators(trainer.generators)
        return Resumed(policy, found.epoch, found.metrics, trainer.optimizer, trainer.state)

    def _known(self, epoch: int | None = None) -> int:
        """An epoch that has a checkpoint: the newest, or the one that is asked for."""
        self.wait()
        known = epochs(self.run_dir)
        if epoch in known:
            return epoch
        if epoch is None and known:
            return known[-1]
        raise MissingCheckpointError(
            f"{self.run_dir} has no checkpoint" + ("" if epoch is None else f" of epoch {epoch}"),
            f"it has {', '.join(map(str, known)) or 'none'}",
            "run.save(policy, optimizer)" if not known else f"run.load({known[-1]})",
        )

    def _write(self, epoch: int, part: Draft, trainer: Nest, *, rehearse: bool = False) -> None:
        """The trainer's state first: a checkpoint that is there can be resumed, and names it."""
        prepared = trainerstate.prepare(trainer)
        path = trainer_of(self.run_dir, epoch, prepared.sha256)
        trainerstate.write(prepared, path)
        self._states.add(path)
        named = {**part.metadata, "trainer": prepared.sha256}
        write(replace(part, metadata=named), path_of(self.run_dir, epoch), rehearse=rehearse)
        runfolder.prune(self.run_dir, self._keep, self._states)
