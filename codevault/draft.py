"""What a checkpoint will hold, taken from a live policy; and how it is written."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import inspect
import os
import platform
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codevault import architecture as arch
from codevault import packages, trust
from codevault.capture import capture
from codevault.checkpoint import write_checkpoint
from codevault.errors import CaptureError
from codevault.manifest import Manifest
from codevault.manifestparts import MigratedPart, OverlayFile, OverlayPart, ProbePart
from codevault.provenances import recall
from codevault.rehearsal import rehearse as rehearse_load
from codevault.rng import kept_rng
from codevault.unwrap import unwrap
from codevault.uri import target
from codevault.version import VERSION
from codevault_cache.limits import OBJECTS_BYTES

if TYPE_CHECKING:
    from codevault.captured import Captured, Selection
    from codevault.probe import Probe


@dataclass(frozen=True, slots=True)
class Draft:
    """A checkpoint before it is written: only the weights still change as the policy is trained.

    Attributes:
        code: The policy's code.
        architecture: The bytes of `policy_architecture.yaml`.
        env: The environment description, encoded.
        packages: Third-party distributions that the code uses, and their versions.
        state: The policy's state_dict.
        probe: Observations and what the policy gave for them.
        metadata: The caller's own data, encoded.
        migrated: Each move of the policy to newer code.
    """

    code: Captured
    architecture: bytes
    env: Any
    packages: Mapping[str, str]
    state: Mapping[str, Any]
    probe: Probe | None
    metadata: Mapping[str, Any]
    migrated: tuple[MigratedPart, ...] = ()


def draft(
    policy: Any,
    architecture: Any,
    env: Any,
    said: Selection,
    probe: Any,
    metadata: Mapping[str, Any] | None,
    *,
    embed: bool,
    code: Captured | None = None,
) -> Draft:
    """Captures the policy's code and records its probe; arguments are those of `save_policy`.

    Args:
        policy: The policy.
        architecture: How to build it.
        env: The environment description.
        said: Where the code is, as far as the caller said.
        probe: Observations, or None.
        metadata: The caller's own plain data.
        embed: Whether all of the code travels.
        code: What an earlier draft of the same policy found out about its code.

    Raises:
        CaptureError: The policy, its code or the metadata cannot be written down.
    """
    from codevault.probe import record

    policy = unwrap(policy)
    loaded = recall(policy)
    if code is None:
        code = capture(policy, architecture, said, embed=embed)
    if architecture is None and loaded is not None:
        described = loaded.architecture
    else:
        chosen = {"class_path": type(policy)} if architecture is None else architecture
        described = arch.describe(chosen, code.name_of)
        _check_call(chosen, described["class_path"])
    environment = arch.encode(env, code.name_of, "env")
    if env is None and loaded is not None:
        environment = loaded.env
    with kept_rng():
        recorded = None if probe is None else record(policy, probe)
    return Draft(
        code=code,
        architecture=arch.to_yaml(described),
        env=environment,
        packages=packages.used_by(code.loaded()),
        state=policy.state_dict(),
        probe=recorded,
        metadata=arch.encode(dict(metadata or {}), _no_name, "metadata"),
        migrated=loaded.recorded.migrated if loaded and loaded.recorded else (),
    )


def write(draft: Draft, path: str, *, rehearse: bool) -> Manifest:
    """Writes a draft; the file is whole, or what was there before stays.

    Raises:
        CaptureError: The rehearsal failed, or the weights cannot be written down.
        CheckpointError: The file cannot be written.
    """
    from codevault import weights
    from codevault.probefile import to_bytes

    code, path = draft.code, target(path)
    tensors = weights.prepare(draft.state)
    probe = None if draft.probe is None else to_bytes(draft.probe)
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
        contract=code.contract,
        env=draft.env,
        python=platform.python_version(),
        packages=dict(draft.packages),
        architecture=_sha256(draft.architecture),
        weights=tensors.sha256,
        probe=None if draft.probe is None or probe is None else _probe(draft.probe, probe),
        created=_now(),
        metadata=dict(draft.metadata),
        migrations=code.migrations,
        migrated=draft.migrated,
    )
    trial = f"{path}.{os.getpid()}-{secrets.token_hex(4)}.rehearsal" if rehearse else path
    try:
        write_checkpoint(
            trial,
            manifest=manifest,
            architecture=draft.architecture,
            weights=tensors,
            probe=probe,
            pack=code.pack,
            diff=code.diff if len(code.diff or b"") <= OBJECTS_BYTES else None,
        )
        if rehearse:
            rehearse_load(trial, manifest)
            os.replace(trial, path)
    finally:
        if rehearse and os.path.exists(trial):
            os.unlink(trial)
    trust.remember_saved(manifest)
    return manifest


def _check_call(architecture: Any, path: str) -> None:
    """Sees to it that a load can call what an architecture names; `env` may be given then.

    Raises:
        CaptureError: It does not take these arguments.
    """
    if not isinstance(architecture, Mapping) or "fields" in architecture:
        return
    try:
        signature = inspect.signature(arch.target_of(architecture))
    except ValueError:
        return  # it is written in C
    try:
        args, kwargs = architecture.get("args", ()), dict(architecture.get("kwargs", {}))
        if "env" in signature.parameters.keys() - signature.bind_partial(*args, **kwargs).arguments:
            kwargs["env"] = None
        signature.bind(*args, **kwargs)
    except (TypeError, ValueError) as error:
        raise CaptureError(
            f"no load could build the policy: {path} does not take the arguments given",
            str(error),
            f"save_policy(..., architecture={{'class_path': {path!r}, 'kwargs': {{...}}}})",
        ) from None


def _no_name(thing: Any, where: str) -> str:
    raise CaptureError(
        f"{where} is {thing!r}, a class or function", "metadata is plain data", "str(...)"
    )


def _overlay(code: Captured) -> OverlayPart | None:
    if code.snapshot.overlay is None:
        return None
    files = tuple(OverlayFile(**entry) for entry in code.overlay)
    return OverlayPart(digest=code.snapshot.overlay, files=files)


def _probe(recorded: Probe, data: bytes) -> ProbePart:
    return ProbePart(
        inputs=sum(len(nest.tensors) for nest in recorded.inputs),
        outputs=sum(len(nest.tensors) for nest in recorded.outputs),
        sha256=_sha256(data),
        steps=len(recorded.inputs),
        untouched=recorded.untouched,
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _now() -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = datetime.datetime.now(datetime.UTC)
    # A trainer must not lose a checkpoint to a malformed variable.
    with contextlib.suppress(ValueError, OverflowError, OSError):
        if epoch.isdecimal():
            moment = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC)
    return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")
