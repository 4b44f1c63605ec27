"""Snapshots of a remote repository: fetched in one conversation, and kept one by one."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING

from codevault_cache import environ
from codevault_cache.address import public_url
from codevault_cache.errors import BadCommit, CacheError, CommitNotFound, Offline
from codevault_cache.gitobjects import read_pack
from codevault_cache.gittree import Damaged
from codevault_cache.keep import keep
from codevault_cache.snapshot import Snapshot
from codevault_cache.wanted import Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from codevault_cache.address import Address
    from codevault_cache.cache import Cache
    from codevault_cache.gittree import GitSource


def from_remote(
    cache: Cache, wanted: Sequence[Wanted], repo: str, address: Address
) -> list[Snapshot]:
    """Fetch snapshots of one repository.

    Args:
        cache: Where they are kept.
        wanted: What is wanted of it.
        repo: The repository, as it was named, without user info.
        address: Where it is now.

    Returns:
        The snapshots, in order.

    Raises:
        CacheError: One of them is not to be had; the others are kept nevertheless.
    """
    if environ.offline():
        names = " ".join(shlex.quote(f"{repo}@{each.commit}") for each in wanted[:3])
        raise Offline(
            "The code is not in the cache, and CODEVAULT_OFFLINE forbids fetching it.",
            f"{len(wanted)} snapshots of {repo} are missing.",
            f"CODEVAULT_OFFLINE=0 codevault prefetch {names}",
        )
    for each in wanted:
        if each.commit is None:
            raise BadCommit(
                f"No commit is named for {repo}.",
                "A remote repository has no files as they are now; branches move.",
                f"git ls-remote {shlex.quote(repo)} HEAD",
            )
    from codevault_cache.fetch import Job, bring

    jobs = [Job(each, read_pack(each.objects) if each.objects else {}) for each in wanted]
    for attempt in (1, 2):
        try:
            with bring(cache.roots[0], repo, address, jobs) as sources:
                # One that is not to be had must not cost the others a conversation each.
                kept = [
                    _kept(cache, each, source, repo)
                    for each, source in zip(wanted, sources, strict=True)
                ]
        except Damaged:
            # The store of earlier fetches was damaged; it has been set aside.
            if attempt == 2:
                raise
            continue
        for found in kept:
            if isinstance(found, CacheError):
                raise found
        return [found for found in kept if isinstance(found, Snapshot)]
    raise AssertionError


def _kept(
    cache: Cache, wanted: Wanted, source: GitSource | CacheError, repo: str
) -> Snapshot | CacheError:
    if isinstance(source, CacheError):
        return source
    try:
        return keep(cache, wanted, source, repo)
    except Damaged:
        raise
    except CacheError as error:
        return error


@contextmanager
def source_from(cache: Cache, snapshot: Snapshot, repo: str) -> Iterator[GitSource]:
    """The tree that a snapshot was made of, with its files, as its remote repository has it.

    Raises:
        CommitNotFound: It does not have the commit, or is on this machine.
        CacheError: It does not answer, or CODEVAULT_OFFLINE forbids to ask.
    """
    from codevault_cache.fetch import Job, bring
    from codevault_cache.gitconfig import moved

    public, there = public_url(repo), moved(repo)
    if there.kind == "local":
        raise CommitNotFound(f"{there.path} does not have {snapshot.commit}.", "", "")
    if environ.offline():
        raise Offline(
            f"What proves {snapshot.name} to others is not in the cache.",
            f"CODEVAULT_OFFLINE forbids asking {public} for the commit and its trees.",
            "publish again with CODEVAULT_OFFLINE=0",
        )
    wanted = Wanted(repo, snapshot.commit, snapshot.roots, snapshot.shared, snapshot.include)
    with bring(cache.roots[0], public, there, [Job(wanted, {})]) as (found,):
        if isinstance(found, CacheError):
            raise found
        yield found
