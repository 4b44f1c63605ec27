"""Writes a policy that was moved: new code, new probe where it drifted, old provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codevault import architecture as arch
from codevault import packages
from codevault.draft import Draft, write
from codevault.manifestparts import MigratedPart
from codevault.migration.target import captured

if TYPE_CHECKING:
    from codevault.manifest import Manifest
    from codevault.migration.attempt import Attempt, Verdict
    from codevault.migration.target import Target


def written(
    path: str, attempt: Attempt, target: Target, source: Manifest, verdict: Verdict
) -> Manifest:
    """Writes the checkpoint.

    Args:
        path: The file; an older one of that name is replaced in one step.
        attempt: The policy.
        target: Its code.
        source: The manifest of what was moved.
        verdict: What the probe said.

    Raises:
        CaptureError: The code cannot be recorded.
        CheckpointError: The file cannot be written.
    """
    code = captured(target, attempt.policy)
    move = MigratedPart(
        checkpoint=source.checkpoint_digest,
        policy=source.policy_digest,
        repo=source.repo,
        commit=source.commit,
        digest=source.digest,
        created=source.created,
        rules={rules.name: rules.sha256 for rules in attempt.plan.chain},
        difference=None if verdict.replay is None else verdict.replay.difference,
        drift=verdict.drift,
    )
    draft = Draft(
        code=code,
        architecture=arch.to_yaml(attempt.plan.description),
        env=attempt.plan.env,
        packages=packages.used_by(code.loaded()),
        state=attempt.policy.state_dict(),
        probe=verdict.probe,
        metadata=source.metadata,
        migrated=(*source.migrated, move),
    )
    return write(draft, path, rehearse=False)
