"""Why a checkpoint does not run, or behave, in newer code: all causes at once; changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codevault import loadlog
from codevault.checkpoint import open_checkpoint
from codevault.checkpointcode import CachePath, open_cache, use_code
from codevault.downloads import local_copy
from codevault.errors import CodevaultError, RefusedError
from codevault.evolve.against import against_of
from codevault.evolve.examination import examined
from codevault.evolve.sides import Side, told
from codevault.splint import Splint, mount, mounted
from codevault.trust import Trust, allow
from codevault.uri import shown

if TYPE_CHECKING:
    import os

    from codevault.checkpoint import Checkpoint
    from codevault.evolve.diagnosis import Diagnosis
    from codevault.manifest import Manifest
    from codevault.trust import Allowed
    from codevault_cache import Cache


def diagnose(
    uri: str | os.PathLike[str],
    against: str | os.PathLike[str] | Splint = "current",
    *,
    env: Any = None,
    trust: Trust = None,
    cache: CachePath = None,
) -> Diagnosis:
    """Finds all that keeps a checkpoint's weights from running, and behaving, in newer code.

    The policy is built twice from the recorded architecture, side by side: by its own code and by
    the newer one. Nothing is written besides the cache.

    Args:
        uri: The checkpoint: a path, or an address that fsspec knows.
        against: "current" for the application's own modules; else a folder, a full commit of the
            checkpoint's repository, `repository@<full commit>`, or a splint. Naming it is the grant
            for that code; that the checkpoint chooses what is called in it needs a grant for the
            checkpoint itself, except in commits of a granted repository and in a splint.
        env: Today's environment description, an object of the newer code; None takes the recorded
            one. With it, shapes that the environment changed are told from those that code changed.
        trust: As for `load_policy`: grants for the checkpoint's own code.
        cache: As for `load_policy`.

    Returns:
        The diagnosis: falsy if nothing was found.

    Raises:
        CheckpointError: The file is no checkpoint, or a damaged one.
        RefusedError: Nothing grants the checkpoint's code the right to run, or the checkpoint the
            right to choose what is called in the newer code.
        FetchError: The newer code could not be had.
        CodeError: The newer code could not be served.
        UsageError: `against` names no code.
    """
    where = shown(uri)
    vault = open_cache(cache)
    checkpoint = open_checkpoint(local_copy(uri, vault.roots[0]), uri)
    manifest = checkpoint.manifest
    allowed = allow(manifest, trust)
    new = against_of(against, manifest, allowed, vault)
    try:
        old = _own(checkpoint, allowed, vault)
        splint = old.code if isinstance(old.code, Splint) else None
        loadlog.note(where, manifest, manifest.policy_digest, splint, allowed.reason)
        try:
            return examined(checkpoint, where, old, new, env, vault)
        finally:
            _leave(old)
    finally:
        _leave(new)


def _own(checkpoint: Checkpoint, allowed: Allowed, vault: Cache) -> Side:
    """The checkpoint's own code, or why it could not be had."""
    label, before = _label(checkpoint.manifest), mounted()
    try:
        splint = use_code(checkpoint, allowed, vault, mount)[0]
    except RefusedError:
        raise
    except CodevaultError as error:
        return Side(None, label, told(error, Side(None, "")))
    return Side(splint, label, fresh=splint.name not in before)


def _leave(side: Side) -> None:
    if side.fresh and isinstance(side.code, Splint):
        side.code.unload()


def _label(manifest: Manifest) -> str:
    changed = " with uncommitted changes" if manifest.overlay else ""
    repo = manifest.repo or "travels in the file"
    return f"{repo} @ {manifest.commit or 'no commit'}{changed}"
