"""Saves a policy with its code, its packages and a probe: `save_policy`."""

from __future__ import annotations

import datetime
import os
import platform
import secrets
from typing import TYPE_CHECKING, Any

from codevault import architecture as arch
from codevault import packages, trust
from codevault.capture import capture
from codevault.checkpoint import write_checkpoint
from codevault.manifest import Manifest, OverlayFile, OverlayPart, ProbePart
from codevault.provenances import recall
from codevault.rehearsal import rehearse as rehearse_load
from codevault.rng import kept_rng
from codevault.unwrap import unwrap
from codevault.version import VERSION
from codevault_cache.limits import OBJECTS_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codevault.captured import Captured
from codevault.captured import Selection
from codevault.errors import CaptureError


def save_policy(
    path: str | os.PathLike[str],
    policy: Any,
    *,
    architecture: Any = None,
    env: Any = None,
    repo: str | os.PathLike[str] | None = None,
    roots: Sequence[str] | None = None,
    shared: Sequence[str] | None = None,
    include: Sequence[str] | None = None,
    probe: Any = None,
    metadata: Mapping[str, Any] | None = None,
    embed: bool = False,
    rehearse: bool = False,
) -> Manifest:
    """Writes a checkpoint that names its code, so that it runs whatever becomes of that code.

    Args:
        path: The `.mpt` file; an older one of that name is replaced in one step.
        policy: The policy; DDP and `torch.compile` wrappers are looked through.
        architecture: How to build it: a pydantic model or dataclass instance (asked for the policy
            by `make_policy(env)` if it has that), or a mapping with `class_path` and `fields`, or
            `args`/`kwargs`. None: as it was loaded, or its class without arguments.
        env: The environment description: a model or plain data.
        repo: Where the code is: a work tree, or the URL to record; None finds out.
        roots: Folders of the import path; None takes what the repository states, or what the
            policy's modules were imported from.
        shared: Dotted prefixes of modules that stay the host's.
        include: Globs of further files.
        probe: Observations to record outputs for: a tensor, a tuple (several arguments), a dict, a
            TensorDict, or a function that makes one of these. None records no probe.
        metadata: The caller's own plain data.
        embed: Whether all of the code travels in the file, not only what the remote lacks.
        rehearse: Whether to load the file in a fresh process with an empty cache before returning.

    Returns:
        The manifest that was written.

    Raises:
        CaptureError: The policy, its code or the metadata cannot be written down; names the part.
        CheckpointError: The file cannot be written.
    """
    from codevault import weights
    from codevault.probe import record, to_bytes

    policy = unwrap(policy)
    loaded = recall(policy)
    said = Selection(None if repo is None else os.fspath(repo), roots, shared, include)
    code = capture(policy, architecture, said, embed=embed)
    if architecture is None and loaded is not None:
        described = loaded.architecture
    else:
        chosen = {"class_path": type(policy)} if architecture is None else architecture
        described = arch.describe(chosen, code.name_of)
    description = arch.to_yaml(described)
    environment = arch.encode(env, code.name_of, "env")
    if env is None and loaded is not None:
        environment = loaded.manifest.env
    with kept_rng():
        recorded = None if probe is None else record(policy, probe)
    data = arch.encode(dict(metadata or {}), _no_name, "metadata")
    tensors = weights.prepare(policy.state_dict())
    probe_bytes = None if recorded is None else to_bytes(recorded)
    manifest = Manifest(
        codevault=VERSION,
        repo=code.repo,
        commit=code.snapshot.commit,
        base=code.base,
        tree=code.tree,
        digest=code.snapshot.digest,
        roots=code.snapshot.roots,
        shared=code.snapshot.shared,
        include=code.snapshot.include,
        overlay=_overlay(code),
        left_out=code.snapshot.left_out,
        modules=code.modules,
        env=environment,
        python=platform.python_version(),
        packages=packages.used_by(code.loaded()),
        architecture=_sha256(description),
        weights=tensors.sha256,
        probe=None if probe_bytes is None else _probe(recorded, probe_bytes),
        created=_now(),
        metadata=data,
    )
    final = os.fspath(path)
    trial = f"{final}.{os.getpid()}-{secrets.token_hex(4)}.rehearsal" if rehearse else final
    try:
        write_checkpoint(
            trial,
            manifest=manifest,
            architecture=description,
            weights=tensors,
            probe=probe_bytes,
            pack=code.pack,
            diff=code.diff if len(code.diff or b"") <= OBJECTS_BYTES else None,
        )
        if rehearse:
            rehearse_load(trial, manifest)
            os.replace(trial, final)
    finally:
        if rehearse and os.path.exists(trial):
            os.unlink(trial)
    trust.remember_saved(manifest)
    return manifest


def _no_name(thing: Any, where: str) -> str:
    raise CaptureError(
        f"{where} is {thing!r}, a class or function", "metadata is plain data", "str(...)"
    )


def _overlay(code: Captured) -> OverlayPart | None:
    if code.snapshot.overlay is None:
        return None
    files = tuple(OverlayFile(**entry) for entry in code.overlay)
    return OverlayPart(digest=code.snapshot.overlay, files=files)


def _probe(recorded: Any, data: bytes) -> ProbePart:
    from codevault.probe import counts

    inputs, outputs = counts(recorded)
    return ProbePart(inputs=inputs, outputs=outputs, sha256=_sha256(data))


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _now() -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    moment = (
        datetime.datetime.fromtimestamp(int(epoch), datetime.UTC)
        if epoch and epoch.isdecimal()
        else datetime.datetime.now(datetime.UTC)
    )
    return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")
