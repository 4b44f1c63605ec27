"""Checks one checkpoint as thoroughly as can be: every byte, its code, and its behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codevault.checkpoint import WEIGHTS, check_member, open_checkpoint
from codevault.checkpointcode import CachePath, open_cache
from codevault.downloads import local_copy
from codevault.load import load_policy
from codevault.provenances import provenance
from codevault.trust import allow

if TYPE_CHECKING:
    import os


def verify(uri: str | os.PathLike[str], *, cache: CachePath = None) -> dict[str, Any]:
    """Hashes all members, loads the policy with its own code, and replays the probe.

    Nothing but the manifest is read of a checkpoint whose code may not run.

    Returns:
        Plain data: `ok` is False where there is no probe, since then nothing shows the behaviour;
            `uncovered` are parameters that the probe's forward passes never touch.

    Raises:
        CodevaultError: Whatever a load raises.
    """
    from codevault.weights import verify_digest

    vault = open_cache(cache)
    checkpoint = open_checkpoint(local_copy(uri, vault.roots[0]), uri)
    allow(checkpoint.manifest, None)
    for name in checkpoint.members:
        if name != WEIGHTS:
            check_member(checkpoint, name)
    verify_digest(checkpoint)
    policy = load_policy(checkpoint.path, cache=vault)
    known = provenance(policy)
    replay, recorded = known.probe, checkpoint.manifest.probe
    return {
        "ok": replay is not None,
        "members": len(checkpoint.members),
        "code": known.splint.name if known.splint else None,
        "allowed": known.allowed,
        "probe": "none recorded" if replay is None else f"equal, {replay.compared} outputs",
        "uncovered": list(recorded.untouched or ()) if recorded else [],
    }
