"""The manifest of a checkpoint: what it says of its code, weights and packages."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from codevault.errors import CheckpointError, FormatVersionError

FORMAT: Final = 1
"""The format that this codevault writes; golden files of each released one load for ever."""

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
    """What the probe covers, for people; the probe itself is a member of its own."""

    inputs: int
    outputs: int
    sha256: Sha256


class Manifest(Part):
    """The `manifest.json` of a checkpoint, format 1.

    Attributes:
        format: Version of the file format.
        codevault: Version of the writer.
        repo: URL without user info, or None where the code travels in the file.
        commit: The full commit, or None for code without one.
        base: The newest ancestor that the remote had when the policy was saved.
        tree: git's id of the commit's tree.
        digest: The snapshot's digest.
        roots: Folders of the import path, in order.
        shared: Dotted prefixes that are the host's.
        include: Globs of further files.
        overlay: Uncommitted changes.
        left_out: Files of the tree that are not in the snapshot.
        modules: Own modules that were imported when the policy was saved.
        contract: Version of the interface to the application, if it states one.
        env: The environment description, encoded as in the architecture.
        python: Version of the interpreter that saved.
        packages: Third-party distributions that were imported, and their versions.
        architecture: sha256 of `policy_architecture.yaml`.
        weights: sha256 of `weights.safetensors`.
        probe: What the probe covers, or None.
        created: UTC time in ISO 8601.
        metadata: The caller's own data.
    """

    format: int = FORMAT
    codevault: str
    repo: str | None = None
    commit: Commit | None = None
    base: Commit | None = None
    tree: str | None = None
    digest: Sha256
    roots: tuple[str, ...] = Field(strict=False)
    shared: tuple[str, ...] = Field(default=(), strict=False)
    include: tuple[str, ...] = Field(default=(), strict=False)
    overlay: OverlayPart | None = None
    left_out: tuple[str, ...] = Field(default=(), strict=False)
    modules: tuple[str, ...] = Field(default=(), strict=False)
    contract: str | None = None
    env: Any = None
    python: str
    packages: dict[str, str]
    architecture: Sha256
    weights: Sha256
    probe: ProbePart | None = None
    created: str
    metadata: dict[str, Any] = Field(default_factory=dict)

    @property
    def checkpoint_digest(self) -> str:
        """The digest that a grant for this one checkpoint names: of all that the manifest says."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @property
    def policy_digest(self) -> str:
        """The policy's identity: sha256 over the digests of code, architecture and weights."""
        text = f"codevault-policy-1\n{self.digest}\n{self.architecture}\n{self.weights}\n"
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> bytes:
        """The bytes of `manifest.json`: sorted keys, so that equal manifests are equal bytes."""
        data = self.model_dump(mode="json")
        return (json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def parse(data: bytes, where: str) -> Manifest:
    """Reads the bytes of a `manifest.json`.

    Args:
        data: The bytes.
        where: The checkpoint, for messages.

    Raises:
        FormatVersionError: The format is not one that this version knows.
        CheckpointError: The bytes are no manifest.
    """
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{where} has a manifest.json that is no JSON", str(error), "save the checkpoint again"
        ) from None
    version = raw.get("format") if isinstance(raw, dict) else None
    if version != FORMAT or isinstance(version, bool):
        raise FormatVersionError(
            f"{where} has format {version!r}, and this codevault reads format {FORMAT}",
            f"it was written by codevault {raw.get('codevault', 'unknown')}"
            if isinstance(raw, dict)
            else "its manifest is no mapping",
            "python -m pip install --upgrade codevault",
        )
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5]
        )
        raise CheckpointError(
            f"{where} has a manifest that does not follow format {FORMAT}",
            faults,
            "save the checkpoint again, or restore it from a copy",
        ) from None
