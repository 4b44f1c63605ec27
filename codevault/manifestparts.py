"""The parts of a checkpoint's manifest, and what its texts may be."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Commit = Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Part(BaseModel):
    """Base of the manifest's parts: frozen; keys of a later minor version are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class OverlayFile(Part):
    """One file laid over the commit's tree; `oid` and `sha256` are absent for a deletion."""

    path: str
    mode: str | None = None
    oid: str | None = None
    sha256: Sha256 | None = None
    deleted: bool = False


class OverlayPart(Part):
    """Uncommitted changes: the digest that names them, and each file."""

    digest: Sha256
    files: tuple[OverlayFile, ...] = Field(strict=False)


class ProbePart(Part):
    """What the probe covers, for people; the probe itself is a member of its own.

    Attributes:
        inputs: Number of tensors given.
        outputs: Number of tensors that came out.
        sha256: Of the member.
        steps: How many observations are played in order, memory carried on.
        untouched: Parameters that its forward passes never touch: no replay sees a change of these.
            None where that is not known.
    """

    inputs: int
    outputs: int
    sha256: Sha256
    steps: int = 1
    untouched: tuple[str, ...] | None = Field(default=None, strict=False)


class MigratedPart(Part):
    """One move of a policy to newer code.

    Attributes:
        checkpoint: Digest of the manifest of the checkpoint that it was.
        policy: Identity of the policy that it was.
        repo: The repository of its code then; None where it travelled.
        commit: The commit of its code then.
        digest: The snapshot's digest.
        created: When that checkpoint was made.
        rules: sha256 of each rules file that was applied, by name.
        difference: Largest difference of an output of the probe, as replayed with the newer code;
            None where it was not replayed.
        drift: What differs beyond the probe's tolerances, and was accepted; empty if nothing.
    """

    checkpoint: Sha256
    policy: Sha256
    repo: str | None = None
    commit: Commit | None = None
    digest: Sha256
    created: str
    rules: dict[str, Sha256]
    difference: float | None = None
    drift: str = ""
