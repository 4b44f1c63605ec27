"""Moves a checkpoint to newer code by rules, and proves it by the probe: `migrate`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault.checkpoint import open_checkpoint
from codevault.checkpointcode import CachePath, open_cache
from codevault.downloads import local_copy
from codevault.errors import UsageError
from codevault.evolve.examination import alone
from codevault.evolve.sides import Side
from codevault.migration.attempt import attempted, judged
from codevault.migration.request import request_of
from codevault.migration.target import target_of
from codevault.migration.writing import written
from codevault.pendingrules import chain_for
from codevault.rng import kept_rng
from codevault.uri import local_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault.checkpoint import Checkpoint
    from codevault.comparison import Replay
    from codevault.load import Overlay
    from codevault.manifest import Manifest
    from codevault.migration.request import Request
    from codevault.trust import Trust


@dataclass(frozen=True, slots=True)
class Migration:
    """What became of a checkpoint.

    Attributes:
        manifest: Of the checkpoint that was written; None if none was.
        source: Of the one that was moved.
        target: The newer code, in words.
        rules: Names of the rules files that were applied.
        class_path: What is built now.
        weights: New key to the old keys that it was made of; none where a rule filled it.
        dropped: Old keys that a rule dropped.
        replay: The replay of the recorded probe; None without one.
        unseen: Parameters that the probe does not touch: nothing shows that they are right.
        drift: What differs from the recorded outputs, if that was accepted; else empty.
    """

    manifest: Manifest | None
    source: Manifest
    target: str
    rules: tuple[str, ...]
    class_path: str
    weights: dict[str, tuple[str, ...]]
    dropped: tuple[str, ...]
    replay: Replay | None
    unseen: tuple[str, ...]
    drift: str


def migrate(
    uri: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    to: str | os.PathLike[str] | None = None,
    rules: Sequence[str | os.PathLike[str]] | None = None,
    roots: Sequence[str] | None = None,
    overlay: Overlay = None,
    accept_drift: bool = False,
    trust: Trust = None,
    cache: CachePath = None,
) -> Migration:
    """Moves a checkpoint to newer code; its own code does not run.

    Args:
        uri: The checkpoint.
        output: The `.mpt` file to write; None only tries.
        to: A folder as it is now, a full commit, or `REPOSITORY@COMMIT`; None means the work tree
            around this folder.
        rules: Rules files, in order; None takes those that `[tool.codevault]` of the newer code
            names and the checkpoint was saved without.
        roots: Folders of the newer code's import path; None takes what it states, and then what
            the checkpoint records.
        overlay: Files laid over a commit, as for `load_code`; they travel.
        accept_drift: Whether a policy that gives other outputs than recorded is written too. The
            difference is recorded, and the new probe holds what it gives now.
        trust: As for `load_policy`. The checkpoint chooses what is called in the newer code: that
            needs a grant for itself, or one for its repository where that has the commit.
        cache: As for `load_policy`.

    Returns:
        What became of it.

    Raises:
        UsageError: The output is the checkpoint itself, or nobody says which newer code is meant.
        CheckpointError: The file is no checkpoint, or a damaged one.
        RefusedError: Nothing grants the checkpoint to choose what is called in the newer code.
        RulesError: A rules file cannot be read.
        BuildError: The architecture does not go with the newer code.
        CodeError: The newer code lacks what is named.
        StateDictError: Keys are unaccounted for, or a rule does not go with the weights.
        ProbeError: The policy does not give the recorded outputs, or none are recorded.
    """
    asked, vault = request_of(uri, to, rules, roots, overlay), open_cache(cache)
    checkpoint = open_checkpoint(local_copy(uri, vault.roots[0]), uri)
    if output is not None:
        _keep_apart(checkpoint, os.fspath(output), asked)
    source = checkpoint.manifest
    target = target_of(asked.to, source, roots, overlay, trust, vault)
    chain = chain_for(rules, target.migrations, source)
    side = Side(target.splint, str(target))
    with kept_rng(), alone(side):
        attempt = attempted(checkpoint, side, chain, asked)
        verdict = judged(attempt, asked, accept_drift=accept_drift)
        manifest = None
        if output is not None:
            manifest = written(os.fspath(output), attempt, target, source, verdict)
    probe = verdict.probe
    return Migration(
        manifest=manifest,
        source=source,
        target=str(target),
        rules=tuple(each.name for each in attempt.plan.chain),
        class_path=attempt.plan.description["class_path"],
        weights=dict(attempt.moved.origin),
        dropped=attempt.moved.dropped,
        replay=verdict.replay,
        unseen=() if probe is None else probe.untouched or (),
        drift=verdict.drift,
    )


def _keep_apart(checkpoint: Checkpoint, output: str, asked: Request) -> None:
    """Refuses to write over what is moved: a rule may drop weights, and drift may be accepted."""
    path = local_path(output)
    if path and os.path.exists(path) and os.path.samefile(checkpoint.path, path):
        name, end = os.path.splitext(path)
        raise UsageError(
            f"{output} is the checkpoint that is moved, and would be gone",
            "what it holds and rules drop is nowhere else",
            asked.command("-o", f"{name}.new{end}"),
        )
