"""Fetch the wanted files of commits: their trees first, then only the blobs that are wanted.

Two questions reach any snapshot: `depth 1, no blobs` for the commits, then the ids of the wanted
folders, with large blobs left behind. A server that refuses either is asked for whole commits.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault_cache import paths
from codevault_cache.depot import add_pack, depot
from codevault_cache.errors import CommitNotFound, CredentialsMissing, Unreachable
from codevault_cache.gitobjects import GITLINK
from codevault_cache.gittree import Damaged, GitSource, Objects, source_at
from codevault_cache.limits import FILE_BYTES
from codevault_cache.source import choose
from codevault_cache.wire import wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dulwich.object_store import DiskObjectStore

    from codevault_cache.address import Address
    from codevault_cache.selection import Selection
    from codevault_cache.systemgit import SystemGit
    from codevault_cache.wanted import Wanted
    from codevault_cache.wire import Wire

NO_BLOBS = "blob:none"
SMALL_BLOBS = f"blob:limit={FILE_BYTES + 1}"


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
def bring(root: str, repo: str, address: Address, jobs: Sequence[Job]) -> Iterator[list[GitSource]]:
    """Bring the wanted objects of several commits of one repository here.

    Args:
        root: The cache's folder.
        repo: The repository, as it was named: its objects stay together when it moves.
        address: Where it is now.
        jobs: The commits.

    Yields:
        Their trees, in order; a blob that they lack was left behind by the server.
    """
    paths.prepare(root)
    path = paths.objects(root, paths.depot_key(repo))
    with depot(path, jobs[0].commit) as store, wire(address) as server:
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
            from codevault_cache.trash import set_aside

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
        from codevault_cache.publish import unfinished

        with unfinished(self.tmp) as (fd, path), os.fdopen(fd, "wb", closefd=False) as file:
            self.server.fetch(file, wants, depth=depth, filter_spec=spec)
            objects, sha256 = os.fspath(self.store.path), len(wants[0]) == 64
            self.held.update(add_pack(objects, fd, path, self.tmp, sha256=sha256))

    def commits(self, wants: Sequence[str], spec: str) -> None:
        """Ask for commits, each without its past."""
        try:
            self.get(wants, 1, spec)
        except CommitNotFound as error:
            if len(wants) > 1:
                # One that is missing must not cost the others.
                for want in wants:
                    self.commits([want], spec)
                return
            # Servers of protocol 2 give any object that they have, but for some that say so.
            if self.server.version == 2 and "not valid" not in error.why:
                raise
            self._by_tips(wants[0], error)

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


def _brought(fetch: Fetch, jobs: Sequence[Job]) -> list[GitSource]:
    shown = fetch.server.address.public
    whole = _commits(fetch, jobs)
    sources = [source_at(fetch.objects(job.travelling), job.commit, shown) for job in jobs]
    _files(fetch, jobs, sources, whole)
    return sources


def _commits(fetch: Fetch, jobs: Sequence[Job]) -> set[str]:
    """Get the commits and their trees, all at once if the server has all of them.

    Returns:
        The commits that came with their blobs: what they lack now was left behind for its size.
    """
    objects = fetch.objects()
    missing = {job.anchor: job for job in jobs if job.anchor not in objects}
    whole = [c for c, job in missing.items() if "." in (job.wanted.roots or ()) and c == job.commit]
    for wants, spec in ((whole, SMALL_BLOBS), ([c for c in missing if c not in whole], NO_BLOBS)):
        if wants:
            fetch.commits(wants, spec)
    return set(whole)


def _files(
    fetch: Fetch, jobs: Sequence[Job], sources: Sequence[GitSource], whole: set[str]
) -> None:
    """Get the blobs, in at most two questions: what pyproject.toml says, then the files."""
    stated = [
        oid
        for job, source in zip(jobs, sources, strict=True)
        if None in (job.wanted.roots, job.wanted.shared, job.wanted.include)
        and (oid := _pyproject(source)) is not None
    ]
    if stated:
        fetch.get(list(dict.fromkeys(stated)), None, None)
    chosen = [
        (job, source, choose(source, job.wanted.roots, job.wanted.shared, job.wanted.include))
        for job, source in zip(jobs, sources, strict=True)
    ]
    # Folders first; then single blobs in a question of their own, because a filter would hold
    # large ones back.
    for find, spec in ((_folders, SMALL_BLOBS), (_single, None)):
        wants = {
            oid: job
            for job, source, choice in chosen
            if (choice.include if find is _single else job.commit not in whole)
            for oid in find(fetch, job, source, choice.selection)
        }
        if not wants:
            continue
        try:
            fetch.get(list(wants), None, spec)
        except (CommitNotFound, Unreachable):
            for anchor in dict.fromkeys(job.anchor for job in wants.values()):
                fetch.get([anchor], 1, None)


def _pyproject(source: GitSource) -> str | None:
    for entry in source.entries(source.tree):
        if entry.name == "pyproject.toml" and entry.mode in (0o100644, 0o100755):
            return entry.oid if entry.oid not in source.objects else None
    return None


def _missing(source: GitSource, selection: Selection) -> Iterator[tuple[str, str]]:
    for path, item in source.walk(selection.descends):
        if item.mode != GITLINK and selection.takes(path) and item.oid not in source.objects:
            yield path, str(item.oid)


def _folders(fetch: Fetch, job: Job, source: GitSource, selection: Selection) -> Iterator[str]:
    """Ids of the roots in which files are missing, as the server knows them."""
    missing = [path for path, _ in _missing(source, selection)]
    anchor = source
    if missing and job.anchor != job.commit:
        anchor = source_at(fetch.objects(), job.anchor, "The origin")
    for root in selection.roots:
        if any(root == "." or path.startswith(root + "/") for path in missing):
            folder = anchor.folder(root)
            if folder is not None:
                yield folder


def _single(fetch: Fetch, job: Job, source: GitSource, selection: Selection) -> Iterator[str]:
    """Ids of the files that `include` names and that no root has brought."""
    del fetch, job
    for path, oid in _missing(source, selection):
        if selection.named(path):
            yield oid
