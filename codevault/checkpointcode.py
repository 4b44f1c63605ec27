"""The code of a checkpoint, supplied by the cache: found there, or proven and fetched."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from codevault.errors import CodeError, CodevaultError, FetchError, RefusedError
from codevault.repositories import canonical, explicit
from codevault_cache import Cache, Snapshot, Wanted
from codevault_cache.errors import CacheError, CorruptEntry, Missing, Unwritable

if TYPE_CHECKING:
    from codevault.manifest import Manifest
    from codevault.trust import Allowed

T = TypeVar("T")


class Coded(Protocol):
    """A checkpoint, as far as its code goes: one that was opened, or one that lies elsewhere."""

    @property
    def manifest(self) -> Manifest:
        """Its manifest."""

    def objects(self) -> bytes | None:
        """The git objects that travel in it, or None."""


CachePath = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Cache | None
"""Where the cache is: folders, an opened cache, or None for `CODEVAULT_CACHE` and the default."""


def open_cache(cache: CachePath) -> Cache:
    """The cache that an argument names.

    Raises:
        CodeError: Nothing is named, and this user has no place for one.
    """
    try:
        return cache if isinstance(cache, Cache) else Cache.open(cache)
    except CacheError as error:
        raise as_codevault_error(error) from error


def snapshot_of(manifest: Manifest) -> Snapshot:
    """The snapshot that a manifest names."""
    return Snapshot(
        commit=manifest.commit,
        roots=manifest.roots,
        shared=manifest.shared,
        include=manifest.include,
        overlay=manifest.overlay.digest if manifest.overlay else None,
        digest=manifest.digest,
        repo=manifest.repo,
        left_out=manifest.left_out,
    )


def find_held(snapshot: Snapshot, cache: Cache) -> Snapshot | None:
    """The cache's own record of `snapshot`, if its code is there; never a network call."""
    known = cache.snapshot(snapshot.name)
    if known is None or not cache.has(known.digest):
        return None
    # Names are short: a stranger can make another commit, or other changes, of the same name.
    same = dataclasses.replace(known, repo=snapshot.repo, left_out=snapshot.left_out)
    return known if same == snapshot else None


def prove(manifest: Manifest, allowed: Allowed, cache: Cache) -> None:
    """Sees to it that a grant for a repository covers the commit; asks the repository once.

    Raises:
        RefusedError: No branch or tag of the repository leads to the commit, or none of the keys
            that the grant demands has signed it.
        FetchError: The repository does not answer.
    """
    if allowed.scope != "repository" or manifest.repo is None or manifest.commit is None:
        return
    from codevault_cache import is_reachable, is_signed

    repo, commit = explicit(manifest.repo), manifest.commit
    try:
        reached = is_reachable(cache, repo, commit)
        signed = not allowed.signers or (
            reached and is_signed(cache, repo, commit, allowed.signers)
        )
    except CacheError as error:
        raise as_codevault_error(error) from error
    if reached and signed:
        return
    if reached:
        raise RefusedError(
            f"commit {commit[:12]} is not signed as the grant for its repository demands",
            f"it has no good ssh signature by {', '.join(allowed.signers)}",
            f"codevault trust add {shlex.quote(f'{canonical(manifest.repo)}@{commit}')}",
        )
    raise RefusedError(
        f"commit {manifest.commit[:12]} is on no branch or tag of {canonical(manifest.repo)}",
        "hosts serve the commits of forks and pull requests under the parent's address, so the "
        "grant for the repository does not cover it",
        f"codevault trust add {shlex.quote(f'{canonical(manifest.repo)}@{manifest.commit}')}",
    )


def use_code(
    code: Coded, allowed: Allowed, cache: Cache, use: Callable[[Snapshot, Cache], T]
) -> tuple[T, bool]:
    """Has a checkpoint's code in the cache, and does something with it.

    Returns:
        What `use` gave, and whether the code was in the cache already.

    Raises:
        RefusedError: The grant does not cover the commit.
        FetchError: No origin gave the code.
        CodeError: What it gave is refused, or is not what was recorded.
    """
    return retry_if_damaged(lambda: ensure_code(code, allowed, cache), cache, use)


def retry_if_damaged(
    have: Callable[[], tuple[Snapshot, bool]], cache: Cache, use: Callable[[Snapshot, Cache], T]
) -> tuple[T, bool]:
    """Uses a snapshot; one that turns out to be damaged or gone is had again, and used once more.

    Args:
        have: Has it in the cache, and tells whether it was there already.
        cache: The cache; what is damaged in it has been set aside by then.
        use: What is done with it.
    """
    snapshot, hit = have()
    try:
        return use(snapshot, cache), hit
    except CodeError as error:
        if not isinstance(error.__cause__, CorruptEntry | Missing):
            raise
    snapshot, _ = have()
    return use(snapshot, cache), False


def ensure_code(code: Coded, allowed: Allowed, cache: Cache) -> tuple[Snapshot, bool]:
    """Has a checkpoint's code in the cache.

    Returns:
        Its snapshot, and whether it was there already.

    Raises:
        RefusedError: The grant does not cover the commit.
        FetchError: No origin gave the code.
        CodeError: What it gave is refused, or is not what was recorded.
    """
    manifest = code.manifest
    prove(manifest, allowed, cache)
    if allowed.scope != "checkpoint" and manifest.shared:
        _check_shared(code, allowed, cache)
    known = find_held(snapshot_of(manifest), cache)
    if known is not None:
        return known, True
    return warm([wanted_of(code, allowed)], cache)[0], False


def _check_shared(code: Coded, allowed: Allowed, cache: Cache) -> None:
    """Under a grant for code, only the committed pyproject.toml says what is shared.

    Shared names are within a checkpoint's reach: one that calls `subprocess` shared would run it.

    Raises:
        RefusedError: The manifest shares what the commit does not.
    """
    wanted = dataclasses.replace(wanted_of(code, allowed), shared=None)
    stated = (cache.find(wanted) or warm([wanted], cache)[0]).shared
    more = sorted(set(code.manifest.shared) - set(stated))
    if more:
        raise RefusedError(
            f"this checkpoint shares {', '.join(more)} with the application, the commit does not",
            f"[tool.codevault] of the commit shares {', '.join(stated) or 'nothing'}, and "
            f"{allowed.reason}: that covers the code, not the checkpoint's own word",
            f"codevault trust add sha256:{code.manifest.checkpoint_digest}",
        )


def wanted_of(code: Coded, allowed: Allowed) -> Wanted:
    """What a cache needs to know to get a checkpoint's code.

    Objects that travel in the file are left aside where the grant does not cover them.

    Raises:
        CodevaultError: The travelling objects are damaged.
    """
    manifest = code.manifest
    objects = code.objects() if allowed.scope != "repository" else None
    overlay = None
    if manifest.overlay is not None:
        from codevault_cache import overlay_from

        entries = [file.model_dump(exclude_none=True) for file in manifest.overlay.files]
        try:
            overlay = overlay_from(entries, objects or b"")
        except CacheError as error:
            raise as_codevault_error(error) from error
    return Wanted(
        repo=None if manifest.repo is None else explicit(manifest.repo),
        commit=manifest.commit,
        roots=manifest.roots,
        shared=manifest.shared,
        include=manifest.include,
        overlay=overlay,
        digest=manifest.digest,
        base=manifest.base,
        objects=objects,
    )


def warm(wanted: Sequence[Wanted], cache: Cache) -> list[Snapshot]:
    """Has every snapshot in the cache, fetching those that are not there.

    Raises:
        FetchError: No origin gave the code.
        CodeError: What it gave is refused, or is not what was recorded.
    """
    import codevault_cache

    try:
        return codevault_cache.warm(cache, wanted)
    except CacheError as error:
        raise as_codevault_error(error) from error
    except OSError as error:
        raise FetchError(
            "the code could not be had", f"{type(error).__name__}: {error}", "codevault cache dir"
        ) from error


def as_codevault_error(error: CacheError) -> CodevaultError:
    """A cache's error as one of codevault's, with the same reference and text."""
    outside = isinstance(error, ConnectionError | LookupError | Unwritable)
    kind = FetchError if outside else CodeError
    new: CodevaultError = kind(error.what, error.why, error.hint)
    new.reference = error.reference
    return new
