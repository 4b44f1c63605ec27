"""Fetch the wanted files of commits: their trees first, then only the blobs that are wanted.

Two questions reach any snapshot: `depth 1, no blobs` for the commits, then the ids of the wanted
folders, with large blobs left behind. A server that refuses either is asked for whole commits.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault_cache import paths
from codevault_cache.atomicwrite import written
from codevault_cache.blobs import SMALL_BLOBS, get_blobs, tried
from codevault_cache.errors import CommitNotFound, CredentialsMissing
from codevault_cache.gittree import Damaged, GitSource, Objects, source_at
from codevault_cache.objectstores import add_pack, depot
from codevault_cache.wire import wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dulwich.object_store import DiskObjectStore

    from codevault_cache.address import Address
    from codevault_cache.errors import CacheError
    from codevault_cache.systemgit import SystemGit
    from codevault_cache.wanted import Wanted
    from codevault_cache.wire import Wire

NO_BLOBS = "blob:none"


@dataclass(frozen=True, slots=True)
class Job:
    """One commit to fetch.

    Attributes:
        wanted: What is wanted of it.
        travelling: The objects that came with the checkpoint.
    """

    wanted: Wanted
    travelling: Mapping[str, tuple[str, bytes]]

    @property
    def commit(self) -> str:
        """The commit whose tree is wanted."""
        assert self.wanted.commit is not None
        return self.wanted.commit

    @property
    def anchor(self) -> str:
        """The commit that the server is asked for: it does not know what travels."""
        if self.commit in self.travelling and self.wanted.base is not None:
            return self.wanted.base
        return self.commit


@contextmanager
def bring(
    root: str, repo: str, address: Address, jobs: Sequence[Job]
) -> Iterator[list[GitSource | CacheError]]:
    """Bring the wanted objects of several commits of one repository here.

    Args:
        root: The cache's folder.
        repo: The repository, as it was named: its objects stay together when it moves.
        address: Where it is now.
        jobs: The commits.

    Yields:
        Their trees, in order, or why one is not to be had; a blob that they lack was left behind by
        the server.

    Raises:
        Unwritable: The cache's folder does not take what comes.
        CacheError: The server does not answer, or has no such repository.
    """
    path = paths.objects(root, paths.depot_key(repo))
    with ExitStack() as stack:
        stack.enter_context(written(root))
        paths.prepare(root)
        store = stack.enter_context(depot(path, jobs[0].commit))
        server = stack.enter_context(wire(address))
        try:
            try:
                sources = _brought(Fetch(store, server, paths.tmp(root), {}), jobs)
            except CredentialsMissing:
                git = _system_git(address)
                if git is None:
                    raise
                sources = _brought(Fetch(store, git, paths.tmp(root), {}), jobs)
            yield sources
        except Damaged:
            # It must not stand in the way of the next try.
            from codevault_cache.removal import set_aside

            set_aside(path, paths.quarantine(root))
            raise


def _system_git(address: Address) -> SystemGit | None:
    """The user's git as the other side, or None where there is none."""
    import shutil

    from codevault_cache.systemgit import SystemGit

    return None if shutil.which("git") is None else SystemGit(address)


@dataclass(frozen=True, slots=True)
class Fetch:
    """A conversation with a repository, and where its answers go.

    Attributes:
        store: This cache's objects of the repository.
        server: The other side.
        tmp: A folder for half-written files, on the store's file system.
        held: The objects of this conversation's packs that are in memory.
    """

    store: DiskObjectStore
    server: Wire | SystemGit
    tmp: str
    held: dict[str, tuple[str, bytes]]

    def get(self, wants: Sequence[str], depth: int | None, spec: str | None) -> None:
        """Ask for objects, and keep what comes."""
        from codevault_cache.atomicwrite import unfinished

        with unfinished(self.tmp) as (fd, path), os.fdopen(fd, "wb", closefd=False) as file:
            self.server.fetch(file, wants, depth=depth, filter_spec=spec)
            objects, sha256 = os.fspath(self.store.path), len(wants[0]) == 64
            self.held.update(add_pack(objects, fd, path, self.tmp, sha256=sha256))

    def commits(self, wants: Sequence[str], spec: str) -> dict[str, CommitNotFound]:
        """Ask for commits, each without its past; one that is missing must not cost the others.

        Returns:
            Those that are not to be had, and why.
        """
        missing = {want: _null(want) for want in wants if not want.strip("0")}
        left = [want for want in wants if want not in missing]
        while left:
            try:
                self.get(left, 1, spec)
                break
            except CommitNotFound as error:
                # Servers say which one they do not give; who does not is asked for each.
                named = [want for want in left if want in error.why] if len(left) > 1 else left
                if not named:
                    for want in left:
                        missing |= self.commits([want], spec)
                    break
                for want in named:
                    try:
                        self._otherwise(want, error)
                    except CommitNotFound as refused:
                        missing[want] = refused
                left = [want for want in left if want not in named and want not in self.objects()]
        return missing

    def _otherwise(self, want: str, error: CommitNotFound) -> None:
        """Get what a server refused to give by its id, from one that may have it nevertheless."""
        # Servers of protocol 2 give any object that they have, but for some that say so.
        if self.server.version == 2 and "not valid" not in error.why:
            raise error
        self._by_tips(want, error)

    def _by_tips(self, want: str, error: CommitNotFound) -> None:
        """Get all branches and tags with their past, from a server that gives nothing else."""
        if want in self.objects():
            return
        tips = self.server.tips((b"refs/heads/", b"refs/tags/"))
        if tips:
            self.get(sorted(tips), None, None)
        if want not in self.objects():
            raise error

    def objects(self, *memory: Mapping[str, tuple[str, bytes]]) -> Objects:
        """All objects that are here."""
        return Objects(self.store, *memory, self.held)


def _null(want: str) -> CommitNotFound:
    """Why the null id is not asked for: the library would ask for nothing at all."""
    return CommitNotFound(
        f"No repository has {want}.", "It is git's word for no commit.", "git rev-parse HEAD"
    )


def _brought(fetch: Fetch, jobs: Sequence[Job]) -> list[GitSource | CacheError]:
    shown = fetch.server.address.public
    whole, missing = _commits(fetch, jobs)

    def source(job: Job) -> GitSource:
        if job.anchor in missing:
            raise missing[job.anchor]
        return source_at(fetch.objects(job.travelling), job.commit, shown)

    sources = [tried(source, job) for job in jobs]
    get_blobs(fetch, jobs, sources, whole)
    return sources


def _commits(fetch: Fetch, jobs: Sequence[Job]) -> tuple[set[str], dict[str, CommitNotFound]]:
    """Get the commits and their trees, all at once if the server has all of them.

    Returns:
        The commits that came with their blobs: what they lack now was left behind for its size.
        And those that are not to be had.
    """
    objects = fetch.objects()
    missing = {job.anchor: job for job in jobs if job.anchor not in objects}
    whole = [c for c, job in missing.items() if "." in (job.wanted.roots or ()) and c == job.commit]
    refused = fetch.commits(whole, SMALL_BLOBS)
    refused |= fetch.commits([c for c in missing if c not in whole], NO_BLOBS)
    return set(whole), refused
