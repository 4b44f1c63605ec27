"""What may run: grants for repositories, single commits and single checkpoints.

What a checkpoint says of itself grants nothing. A grant for a repository covers code that is
fetched from that repository; code that travels inside a checkpoint needs a grant for its commit or
for that checkpoint. Saving a policy grants one's own checkpoint.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from codevault import userdir
from codevault.errors import CodevaultError, RefusedError
from codevault.grants import grant, user_grants
from codevault.listed import must_be_listed
from codevault.repositories import canonical

if TYPE_CHECKING:
    from codevault.manifest import Manifest

Trust = Sequence[str] | None
"""Grants as a caller gives them; None reads the user's file and `CODEVAULT_TRUST`."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Why code may run, and how much that covers.

    Attributes:
        reason: For people.
        scope: "checkpoint" covers all that is in it; "commit" covers that commit, wherever its
            objects come from; "repository" covers what its branches and tags lead to.
        signers: Keys of which one must have signed the commit; none where nobody must.
    """

    reason: str
    scope: Literal["checkpoint", "commit", "repository"]
    signers: tuple[str, ...] = ()


def allow(manifest: Manifest, trust: Trust) -> Allowed:
    """Decides whether a checkpoint's code may run.

    Args:
        manifest: The checkpoint's manifest.
        trust: Grants; None reads the user's.

    Raises:
        RefusedError: No grant covers it; the message has the command that would grant it.
        UsageError: `trust` is one text instead of a list.
        CodevaultError: It has a text that is no grant.
    """
    must_be_listed(trust=trust)
    grants = user_grants() if trust is None else [grant(text) for text in trust]
    digest = manifest.checkpoint_digest
    if any(g.checkpoint == digest for g in grants):
        return Allowed(f"checkpoint sha256:{digest[:12]}… is granted", "checkpoint")
    if trust is None and userdir.read("saved", digest) is not None:
        return Allowed("saved by this user on this machine", "checkpoint")
    repo = _address(manifest)
    mine = [g for g in grants if repo is not None and g.repo == repo]
    # The commit's hash covers all of its files, wherever they come from; not what lies over them.
    if manifest.overlay is None and any(g.commit == manifest.commit for g in mine if g.commit):
        return Allowed(f"{repo}@{manifest.commit} is granted", "commit")
    whole = [] if _travels(manifest) else [g for g in mine if g.commit is None]
    signers = tuple(g.signer for g in whole if g.signer is not None)
    if signers:  # the stricter grant holds, wherever another one was left
        keys = ", ".join(f"…{key[-12:]}" for key in signers)
        return Allowed(f"{repo} is granted for commits signed by {keys}", "repository", signers)
    if whole:
        return Allowed(f"{repo} is granted", "repository")
    raise _refusal(manifest)


def allow_architecture(manifest: Manifest, allowed: Allowed) -> None:
    """Sees to it that a checkpoint may choose among the application's own functions.

    With `code="current"` what it names is called in today's code, of which no repository's grant
    speaks.

    Raises:
        RefusedError: Only a grant for the checkpoint itself covers that.
    """
    if allowed.scope != "checkpoint":
        raise RefusedError(
            "this checkpoint may not choose what runs in the current code",
            f"{allowed.reason}, and that covers only code of the repository",
            f"codevault trust add sha256:{manifest.checkpoint_digest}",
        )


def remember_saved(manifest: Manifest) -> None:
    """Grants a checkpoint that this user has just written."""
    userdir.write("saved", manifest.checkpoint_digest, b"")


def _travels(manifest: Manifest) -> bool:
    """Whether some of the code is only in the checkpoint, as it says itself."""
    return (
        manifest.overlay is not None
        or None in (manifest.repo, manifest.commit)
        or (manifest.base != manifest.commit)
    )


def _address(manifest: Manifest) -> str | None:
    """The repository in the form of grants; None for an address that cannot be granted."""
    try:
        repo = manifest.repo or ""
        # A path of somebody else's file means nothing here, unless it is a whole one.
        return canonical(repo) if ":" in repo or os.path.isabs(repo) else None
    except CodevaultError:
        return None


def _refusal(manifest: Manifest) -> RefusedError:
    commit = (manifest.commit or "none")[:12]
    repo = _address(manifest)
    whole = f"codevault trust add sha256:{manifest.checkpoint_digest}"
    if repo is not None and not _travels(manifest):
        return RefusedError(
            "this checkpoint's code has no grant to run here",
            f"it is commit {commit} of {repo}",
            f"codevault trust add {shlex.quote(repo)}",
        )
    what = "uncommitted changes travel in it" if manifest.overlay else "its code travels in it"
    return RefusedError(
        "this checkpoint's code has no grant to run here",
        f"{what} (repository {repo or 'none that can be granted'}, commit {commit}), so only a "
        "grant for the checkpoint itself covers it",
        whole,
    )
