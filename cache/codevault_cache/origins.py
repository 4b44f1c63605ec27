"""The origins of a snapshot, asked in order when the cache does not have it."""

from __future__ import annotations

import os
import shlex
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from codevault_cache import environ, paths
from codevault_cache.address import Address, address_of
from codevault_cache.errors import (
    BadCommit,
    CommitNotFound,
    DigestMismatch,
    LeftOut,
    RepositoryNotFound,
)
from codevault_cache.gitdir import GitDir, gitdir_of
from codevault_cache.gitobjects import read_pack
from codevault_cache.gittree import Objects, require_modules, source_at
from codevault_cache.keep import EmptySource, keep
from codevault_cache.remote import from_remote
from codevault_cache.removal import sweep
from codevault_cache.source import GITLINK, Absent, choose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codevault_cache.cache import Cache
    from codevault_cache.snapshot import Snapshot
    from codevault_cache.wanted import Wanted


def fetch_all(cache: Cache, wanted: Sequence[Wanted]) -> list[Snapshot]:
    """Fetch what is not in the cache.

    Args:
        cache: Where it is kept.
        wanted: The misses.

    Returns:
        Their snapshots, in order.

    Raises:
        CacheError: One of them is not to be had; those of its repository that are, are kept.
    """
    sweep(paths.tmp(cache.roots[0]))
    done: dict[int, Snapshot] = {}
    remote: dict[str, list[int]] = {}
    addresses: dict[int, Address] = {}
    for i, each in enumerate(wanted):
        complete = _from_travelling(cache, each, _travelling(each))
        if complete is not None:
            done[i] = complete
    if environ.mirror() is not None:
        from codevault_cache.mirror import mirrored

        done |= mirrored(cache, {i: each for i, each in enumerate(wanted) if i not in done})
    for i, each in enumerate(wanted):
        if i in done:
            continue
        address = address_of(each.repo) if each.repo is not None else None
        if address is None:
            raise CommitNotFound(
                f"Nobody says where the commit {each.commit} is to be had.",
                "There is no repository address, and the objects at hand do not hold it.",
                "repo=URL",
            )
        there = address if address.kind == "local" else _moved(each.repo)
        if there.kind == "local":
            done[i] = _local(cache, each, there.path, address.public, _travelling(each))
        else:
            addresses[i] = there
            remote.setdefault(address.public, []).append(i)
    for repo, group in remote.items():
        several = [wanted[i] for i in group]
        found = from_remote(cache, several, repo, addresses[group[0]])
        done |= zip(group, found, strict=True)
    return [done[i] for i in range(len(wanted))]


def _moved(repo: str | None) -> Address:
    from codevault_cache.gitconfig import moved

    assert repo is not None
    return moved(repo)


def _travelling(wanted: Wanted) -> Mapping[str, tuple[str, bytes]]:
    return read_pack(wanted.objects) if wanted.objects else {}


def _from_travelling(
    cache: Cache, wanted: Wanted, travelling: Mapping[str, tuple[str, bytes]]
) -> Snapshot | None:
    """Without any origin: a complete overlay, or a commit whose wanted objects all travel."""
    repo = _public(wanted.repo)
    if wanted.commit is None:
        if wanted.repo is not None or wanted.overlay is None:
            return None
        return keep(cache, wanted, EmptySource(), None)
    if wanted.commit not in travelling:
        return None
    source = source_at(Objects(None, travelling), wanted.commit, "The checkpoint")
    try:
        choice = choose(source, wanted.roots, wanted.shared, wanted.include)
        selection = choice.selection
        complete = all(
            item.oid in travelling or item.mode == GITLINK
            for path, item in source.walk(selection.descends)
            if selection.takes(path)
        )
        # Files that are left out do not travel either; the digest tells them from files that are
        # elsewhere.
        if complete or wanted.digest is not None:
            return keep(cache, wanted, source, repo)
    except Absent:
        return None
    except (DigestMismatch, LeftOut):
        if complete:
            raise
    return None


def _public(repo: str | None) -> str | None:
    return None if repo is None else address_of(repo).public


def _local(
    cache: Cache,
    wanted: Wanted,
    path: str,
    repo: str,
    travelling: Mapping[str, tuple[str, bytes]],
) -> Snapshot:
    found = gitdir_of(path)
    if found is not None:
        return _repository(cache, wanted, path, repo, found, travelling)
    if wanted.commit is not None:
        raise RepositoryNotFound(
            f"There is no git repository at {path!r}.",
            f"The commit {wanted.commit} was asked for; folders, wheels and sdists have none.",
            "git -C PATH rev-parse --git-dir",
        )
    if os.path.isdir(path):
        from codevault_cache.folder import FolderSource

        return keep(cache, wanted, FolderSource(path), path)
    from codevault_cache.distarchive import archive_source

    return keep(cache, wanted, archive_source(path), path)


def _repository(
    cache: Cache,
    wanted: Wanted,
    path: str,
    repo: str,
    found: GitDir,
    travelling: Mapping[str, tuple[str, bytes]],
) -> Snapshot:
    from codevault_cache.objectstores import read_only

    if wanted.commit is None:
        if found.top is None:
            raise BadCommit(
                f"{path!r} is a bare repository: it has no files of its own.",
                "A commit says which of its trees is wanted.",
                f"git -C {shlex.quote(path)} rev-parse HEAD",
            )
        from codevault_cache.worktree import read_worktree

        captured = read_worktree(
            found.top,
            roots=wanted.roots,
            shared=wanted.shared,
            include=wanted.include,
            objects=False,
        )
        overlay = (
            captured.overlay if wanted.overlay is None else wanted.overlay.over(captured.overlay)
        )
        settled = replace(wanted, commit=captured.head, overlay=overlay)
        hit = cache.find(settled)
        if hit is not None:
            return hit
        wanted = settled
    assert wanted.commit is not None
    with ExitStack() as stack:
        store = stack.enter_context(read_only(found.objects, wanted.commit))
        try:
            source = source_at(Objects(store, travelling), wanted.commit, path)
            # A partial clone lacks anything: data is left out, but code without modules is none.
            choice = choose(source, wanted.roots, wanted.shared, wanted.include)
            require_modules(source, choice.selection, wanted.overlay)
            return keep(cache, wanted, source, repo)
        except Absent as error:
            raise CommitNotFound(
                f"{path} has the commit {wanted.commit}, and not all of its files.",
                f"Object {error} is missing: the clone is partial or shallow.",
                f"git -C {shlex.quote(path)} fetch --refetch origin {wanted.commit}",
            ) from None
