"""The code of many checkpoints at once: each snapshot once, a repository's commits together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault.checkpoint import open_checkpoint
from codevault.checkpointcode import (
    Coded,
    as_codevault_error,
    find_held,
    retry_if_damaged,
    snapshot_of,
    use_code,
    wanted_of,
    warm,
)
from codevault.errors import CodevaultError
from codevault.ranged import noted_code
from codevault.repositories import explicit
from codevault.splint import compile_code
from codevault.targets import commit_of
from codevault.trust import Allowed, Trust, allow
from codevault.uri import local_path
from codevault_cache import Cache, Snapshot, Wanted
from codevault_cache.errors import CacheError, Unwritable

if TYPE_CHECKING:
    from collections.abc import Sequence

_FOR_ALL = (ConnectionError, Unwritable)
"""What concerns all commits of a repository alike."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a URI asks for, seen without its weights.

    Attributes:
        uri: As it was given.
        repo: The repository that has the code; None where it all travels.
        commit: The full commit, or None for code without one.
        key: Equal for those that are had by the same act: same snapshot, same grant.
        code: What the checkpoint says of its code; None for a commit.
        allowed: Why it may run; None for a commit, which is the caller's word.
    """

    uri: str
    repo: str | None
    commit: str | None
    key: tuple[object, ...]
    code: Coded | None = None
    allowed: Allowed | None = None


def look(uri: str, trust: Trust, folder: str, state: tuple[int | None, str] | None = None) -> Look:
    """What a checkpoint or `repository@<full commit>` asks for.

    Args:
        uri: Its name.
        trust: As for `prefetch`.
        folder: Where manifests of remote checkpoints are noted.
        state: What a listing just said of a remote one; None asks the store.

    Raises:
        CheckpointError: The file is no checkpoint, or a damaged one.
        FetchError: The store does not answer.
        RefusedError: No grant covers it.
    """
    named = commit_of(uri)
    if named is not None:
        repo = explicit(named[0])
        return Look(uri, repo, named[1], (repo, named[1]))
    path = local_path(uri)
    code = noted_code(uri, folder, state) if path is None else open_checkpoint(path)
    manifest = code.manifest
    allowed = allow(manifest, trust)
    name = snapshot_of(manifest).name
    key = (name, manifest.digest, manifest.repo, allowed.scope, allowed.signers)
    where = None if manifest.repo is None else explicit(manifest.repo)
    return Look(uri, where, manifest.commit, key, code, allowed)


def find_ready(look: Look, cache: Cache) -> Snapshot | None:
    """The snapshot that is asked for, if it is in the cache; never a network call."""
    if look.code is None:
        return cache.find(Wanted(repo=look.repo, commit=look.commit))
    return find_held(snapshot_of(look.code.manifest), cache)


def fetch_together(looks: Sequence[Look], cache: Cache) -> CodevaultError | None:
    """Asks a repository at once for all that several need of it: proofs, then code.

    What one of them lacks is no error here: `have` says it of that one, and the others are there.

    Args:
        looks: With different keys, all of one repository.
        cache: Where it is kept.

    Returns:
        Why none that is missing then can be had: the repository does not answer at all, or the disk
        is full. None if some may be.
    """
    repo = looks[0].repo
    if repo is None or len(looks) < 2:
        return None
    from codevault_cache.reachability import reachable

    whole = [look for look in looks if look.allowed and look.allowed.scope == "repository"]
    try:
        asked = sorted({look.commit for look in whole if look.commit is not None})
        proven = reachable(cache, repo, asked) if asked else frozenset()
        wanted = [w for look in looks if (w := _lacking(look, proven, cache)) is not None]
        warm(wanted, cache)
    except CacheError as error:
        return as_codevault_error(error) if isinstance(error, _FOR_ALL) else None
    except CodevaultError as error:
        return error if isinstance(error.__cause__, _FOR_ALL) else None
    return None


def _lacking(look: Look, proven: frozenset[str], cache: Cache) -> Wanted | None:
    """What may be fetched for it before it is looked at by itself."""
    if look.code is None or look.allowed is None:
        return Wanted(repo=look.repo, commit=look.commit)
    allowed, manifest = look.allowed, look.code.manifest
    if allowed.signers or (allowed.scope == "repository" and look.commit not in proven):
        return None
    stated = allowed.scope != "checkpoint" and manifest.shared
    if not stated and find_held(snapshot_of(manifest), cache) is not None:
        return None
    try:
        wanted = wanted_of(look.code, allowed)
    except (CodevaultError, CacheError):  # it is damaged, or says what none may: `have` tells
        return None
    # What the commit itself shares is asked for: `had` compares it.
    return dataclasses.replace(wanted, shared=None) if stated else wanted


def make_ready(look: Look, cache: Cache) -> tuple[str, bool]:
    """Has the code in the cache, compiled.

    Returns:
        Its splint name, and whether it was there already.

    Raises:
        RefusedError: The grant does not cover the commit.
        FetchError: No origin gave the code.
        CodeError: What it gave is refused, or is not what was recorded.
    """
    if look.code is not None and look.allowed is not None:
        return use_code(look.code, look.allowed, cache, _compiled)
    wanted = Wanted(repo=look.repo, commit=look.commit)

    def found() -> tuple[Snapshot, bool]:
        known = cache.find(wanted)
        return (warm([wanted], cache)[0], False) if known is None else (known, True)

    return retry_if_damaged(found, cache, _compiled)


def _compiled(snapshot: Snapshot, cache: Cache) -> str:
    compile_code(snapshot, cache)
    return snapshot.name
