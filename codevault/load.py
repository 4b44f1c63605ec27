"""Loads a policy with the code it was trained on: `load_policy` and `load_code`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

from codevault import architecture as arch
from codevault import audit, errors, loadlog, preflight
from codevault.build import CodeVersion, CurrentCode, environment
from codevault.checkpoint import Checkpoint, open_checkpoint
from codevault.checkpointcode import (
    CachePath,
    as_codevault_error,
    open_cache,
    retry_if_damaged,
    use_code,
    warm,
)
from codevault.diagnosedload import diagnosed
from codevault.downloads import local_copy
from codevault.errors import CodevaultError, LegacyFormError, ProbeWarning
from codevault.listed import must_be_listed
from codevault.pendingrules import chain_of_application, named_by
from codevault.provenances import Provenance, remember
from codevault.raised import explained
from codevault.restoring import apply_rules, build_with_weights, replay_probe, to_device
from codevault.rng import kept_rng
from codevault.splint import Splint, mount, release
from codevault.trust import Allowed, Trust, allow, allow_architecture
from codevault.uri import shown
from codevault_cache import Cache, Snapshot, Wanted, overlay_of
from codevault_cache.errors import CacheError

if TYPE_CHECKING:
    from codevault.contract import Contract
    from codevault.evolve.rules import Rules
    from codevault.manifest import Manifest

_OF_OLD = "save it with a class_path that leaves the policy as it was when its weights were taken"
_OF_CURRENT = "codevault.load_policy(uri)  # its own code"
Overlay = Mapping[str, str | bytes] | str | os.PathLike[str] | None


def load_policy(
    uri: str | os.PathLike[str],
    *,
    env: Any = None,
    contract: Contract | None = None,
    device: Any = "cpu",
    code: Literal["pinned", "current"] | Splint = "pinned",
    probe: bool = True,
    trust: Trust = None,
    cache: CachePath = None,
) -> Any:
    """Loads a policy from a checkpoint, with its own code beside the application's.

    The result is the old code's own object: its forward pass runs no line of codevault. It is as
    plain construction and `load_state_dict` leave it, so call `.eval()` before playing.

    Args:
        uri: A path, or an address that fsspec knows. With a splint as `code` also an old file that
            needs no unpickler: Metta's `.mpt` and `policy_spec.json` bundles.
        env: The environment description; None takes the recorded one.
        contract: Adapts `env` to the version of the interface that the policy knows.
        device: Where the policy shall be, as `torch.nn.Module.to` takes it.
        code: "pinned" for the recorded code, "current" for the host's with the rules files that
            its repository names, or a splint.
        probe: Whether to replay the recorded outputs.
        trust: Grants; None reads the user's file and `CODEVAULT_TRUST`.
        cache: Folders of the cache; None takes `CODEVAULT_CACHE` or the default.

    Returns:
        The policy.

    Raises:
        CheckpointError: The file is no checkpoint, or a damaged one.
        LegacyFormError: It is an old file; the message has the line that makes a checkpoint of it.
        RefusedError: Nothing grants its code the right to run.
        FetchError: Its code could not be had.
        CodeError: Its code lacks what the checkpoint names.
        BuildError: The architecture could not be built.
        StateDictError: The weights do not fit.
        ProbeError: The policy does not give the recorded outputs.
        ContractError: The contract lacks a step to the policy's version.
        RulesError: A rules file of the repository cannot be read.

        With code="current", what is raised has the whole diagnosis, as `diagnosis`.
    """
    where, vault = shown(uri), open_cache(cache)
    path = local_copy(uri, vault.roots[0])
    try:
        checkpoint = open_checkpoint(path, uri)
    except LegacyFormError as error:
        if not isinstance(code, Splint):
            raise
        return _old_form(path, error.form, code, env, device, where)
    allowed = _allowed(checkpoint.manifest, code, trust)
    chain = chain_of_application(checkpoint.manifest) if code == "current" else ()
    chosen = _code(checkpoint, code, allowed, vault, chain, where)
    splint = chosen if isinstance(chosen, Splint) else None
    findings = preflight.warn(checkpoint.manifest, splint, vault, where)
    why = loadlog.GIVEN if allowed is None else allowed.reason
    ran = code.snapshot if isinstance(code, Splint) else checkpoint.manifest
    loadlog.note(where, ran, checkpoint.manifest.policy_digest, splint, why)
    failing = diagnosed(uri, env, chain, trust, cache) if code == "current" else nullcontext()
    with failing, kept_rng(), explained(checkpoint.manifest, chosen), _audited(splint) as watch:
        plan = apply_rules(arch.read(checkpoint), checkpoint.manifest.env, chain, chosen)
        version = None if contract is None else contract.version_of(checkpoint.manifest, chosen)
        given = _environment(env, contract, version, plan.env, chosen)
        policy = build_with_weights(
            plan,
            checkpoint,
            chosen,
            given,
            settle=watch.settle,
            where=where,
            hint=_OF_OLD if splint else _OF_CURRENT,
            cache=vault if env is None else None,
        )
        replay = replay_probe(policy, checkpoint, where, 2) if probe else None
    policy = to_device(policy, device)
    audit.warn(watch.audit, "codevault.provenance(policy).audit.restore()")
    origin = (where, checkpoint.path, checkpoint.manifest, plan.description, splint, why)
    changed = None if splint is None else splint.audit
    remember(policy, Provenance(*origin, replay, findings, changed, contract, version, plan.env))
    return policy


def load_code(
    repo: str | os.PathLike[str],
    commit: str | None = None,
    *,
    roots: Sequence[str] | None = None,
    shared: Sequence[str] | None = None,
    include: Sequence[str] | None = None,
    overlay: Overlay = None,
    trust: Trust = None,
    cache: CachePath = None,
) -> Splint:
    """Mounts the code of one commit beside the application's.

    Args:
        repo: A URL, or a path to a work tree, a bare repository, a `.git` folder, a plain folder, a
            wheel or an sdist. Naming it is the grant.
        commit: The full commit; None for a work tree as it is now, and for the last three.
        roots: Folders of the import path, in order; None takes what the repository states.
        shared: Dotted prefixes that are the host's modules; None likewise.
        include: Globs of further files; None likewise.
        overlay: Files laid over the tree: tree path to text or bytes, or a folder.
        trust: Not needed here: `repo` is the caller's word.
        cache: As for `load_policy`.

    Raises:
        FetchError: The code could not be had.
        CodeError: It was found and cannot be served.
        UsageError: One text was given where a list is meant.
    """
    must_be_listed(roots=roots, shared=shared, include=include)
    vault = open_cache(cache)
    try:
        wanted = Wanted(
            repo=os.fspath(repo),
            commit=commit,
            roots=None if roots is None else tuple(roots),
            shared=None if shared is None else tuple(shared),
            include=None if include is None else tuple(include),
            overlay=None if overlay is None else overlay_of(overlay),
        )
    except CacheError as error:
        raise as_codevault_error(error) from error

    def mounted(snapshot: Snapshot, vault: Cache) -> Splint:
        return mount(snapshot, vault, wanted.overlay)

    return retry_if_damaged(lambda: (warm([wanted], vault)[0], True), vault, mounted)[0]


def _allowed(manifest: Manifest, code: str | Splint, grants: Trust) -> Allowed | None:
    """Why a checkpoint's code may run; None where the caller brought the code."""
    if isinstance(code, Splint):
        return None
    if code not in ("pinned", "current"):
        raise CodevaultError(
            f"code={code!r} is unknown", "", 'code="pinned", code="current", or a Splint'
        )
    return allow(manifest, grants)


def _code(
    checkpoint: Checkpoint,
    code: str | Splint,
    allowed: Allowed | None,
    vault: Cache,
    chain: Sequence[Rules],
    where: str,
) -> CodeVersion:
    """The version of the code to build with: in the cache, and mounted."""
    if isinstance(code, Splint):
        return code
    assert allowed is not None
    if code == "current":
        allow_architecture(checkpoint.manifest, allowed)
        manifest = checkpoint.manifest
        return CurrentCode((*manifest.modules, *named_by(chain)), manifest.shared)
    try:
        return use_code(checkpoint, allowed, vault, mount)[0]
    except CodevaultError as error:
        raise errors.offline_line(error, where) from error.__cause__


@contextmanager
def _audited(splint: Splint | None) -> Iterator[audit.Watch]:
    """Watches old code; random numbers are put back by `kept_rng`."""
    name, shared = (None, ()) if splint is None else (splint.name, splint.snapshot.shared)
    try:
        with audit.watching(name, shared, kept=(audit.RANDOM,)) as watch:
            yield watch
    finally:
        release(splint)


def _old_form(path: str, form: str, splint: Splint, env: Any, device: Any, where: str) -> Any:
    """The policy of an old file that needs no unpickler; the caller brought its code."""
    from codevault import oldforms

    old = oldforms.read(path, form)
    with kept_rng(), _audited(splint) as watch:
        policy, described = oldforms.load(old, splint, env, where)
        watch.settle()
    audit.warn(watch.audit, "code.audit.restore()")
    warnings.warn(f"{where} has no probe: nothing shows that it behaves", ProbeWarning, 3)
    policy = to_device(policy, device)
    oldforms.remember_origin(policy, described, old, splint, env, where)
    return policy


def _environment(
    env: Any,
    contract: Contract | None,
    version: str | None,
    recorded: Any,
    chosen: CodeVersion,
) -> Any:
    if env is None:
        return environment(recorded, chosen)
    return env if contract is None or version is None else contract.adapted(env, version, chosen)
