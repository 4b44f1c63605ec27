"""The past of a repository: its commits with their trees and files, to be read and not to run.

A local repository is read where it lies. Of a remote one, commits and trees of all branches and
tags are fetched, and then only the files that are asked for.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from codevault_cache import environ, paths
from codevault_cache.address import address_of
from codevault_cache.depot import depot, read_only
from codevault_cache.errors import CredentialsMissing, Offline, RepositoryNotFound
from codevault_cache.gitdir import gitdir_of
from codevault_cache.gitobjects import TreeEntry, parse_tree
from codevault_cache.gittree import Objects
from codevault_cache.source import Absent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dulwich.object_store import BaseObjectStore

    from codevault_cache.address import Address
    from codevault_cache.cache import Cache
    from codevault_cache.systemgit import SystemGit
    from codevault_cache.wire import Wire

_REFS: Final = (b"refs/heads/", b"refs/tags/", b"refs/remotes/", b"HEAD")
_AT_ONCE: Final = 2000
"""How many files a server is asked for at once."""


@dataclass(frozen=True, slots=True)
class ChronicleCommit:
    """One commit.

    Attributes:
        oid: Its full id.
        tree: The id of its tree.
        time: Its committer's time, seconds since 1970.
    """

    oid: str
    tree: str
    time: int


class Chronicle:
    """What is known of a repository's chronicle.

    Attributes:
        commits: All that a branch or tag leads to, oldest first.
    """

    def __init__(
        self,
        commits: tuple[ChronicleCommit, ...],
        objects: Objects,
        bring: Callable[[list[str]], None] | None,
    ) -> None:
        self.commits = commits
        self._objects = objects
        self._bring = bring
        self.entries = lru_cache(maxsize=1 << 15)(self._entries)

    def _entries(self, tree: str) -> tuple[TreeEntry, ...]:
        """The lines of a tree; none for one that a partial clone lacks."""
        try:
            return tuple(parse_tree(self._objects.get(tree, "tree"), len(tree) // 2))
        except Absent:
            return ()

    def files(self, oids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Id and content of files, in any order; those that nobody has are left out."""
        waiting = list(oids)
        if self._bring is not None:
            lacking = [oid for oid in waiting if oid not in self._objects]
            for start in range(0, len(lacking), _AT_ONCE):
                self._bring(lacking[start : start + _AT_ONCE])
        for oid in waiting:
            try:
                yield oid, self._objects.get(oid, "blob")
            except Absent:
                continue


@contextmanager
def chronicle(cache: Cache, repo: str) -> Iterator[Chronicle]:
    """The past of a repository, for as long as the block runs.

    Args:
        cache: Where what is fetched is kept.
        repo: A URL, or the path of a work tree, a bare repository or a `.git` folder.

    Raises:
        RepositoryNotFound: There is no such repository.
        CacheError: It does not answer, or CODEVAULT_OFFLINE forbids to ask.
    """
    address = address_of(repo)
    if address.kind != "local":
        from codevault_cache.gitconfig import moved

        address = moved(repo)
    with ExitStack() as stack:
        if address.kind == "local":
            yield stack.enter_context(_local(address.path))
        else:
            yield stack.enter_context(_remote(cache, address))


@contextmanager
def _local(path: str) -> Iterator[Chronicle]:
    from dulwich.repo import Repo

    found = gitdir_of(path)
    if found is None:
        raise RepositoryNotFound(
            f"There is no git repository at {path!r}.",
            "Folders, wheels and sdists have no chronicle.",
            "git -C PATH rev-parse --git-dir",
        )
    with Repo(found.top or found.git) as repo:
        refs = repo.refs.as_dict()
        tips = {oid.decode() for name, oid in refs.items() if name.startswith(_REFS)}
    if not tips:
        yield Chronicle((), Objects(None), None)
        return
    with read_only(found.objects, next(iter(tips))) as store:
        yield Chronicle(_commits(store, tips), Objects(store), None)


@contextmanager
def _remote(cache: Cache, address: Address) -> Iterator[Chronicle]:
    from codevault_cache.fetch import NO_BLOBS, Fetch
    from codevault_cache.wire import wire

    if environ.offline():
        raise Offline(
            f"The past of {address.public} is not here.",
            "CODEVAULT_OFFLINE forbids asking.",
            "name a clone of it on this machine: --repo PATH",
        )
    root = cache.roots[0]
    paths.prepare(root)
    with wire(address) as server:
        asked: Wire | SystemGit = server
        try:
            tips = server.tips(_REFS[:2])
        except CredentialsMissing:
            if shutil.which("git") is None:
                raise
            from codevault_cache.systemgit import SystemGit

            asked = SystemGit(address)
            tips = asked.tips(_REFS[:2])
        if not tips:
            yield Chronicle((), Objects(None), None)
            return
        path = paths.objects(root, paths.depot_key(address.public))
        with depot(path, next(iter(tips))) as store:
            fetch = Fetch(store, asked, paths.tmp(root), {})
            fetch.get(sorted(tips), None, NO_BLOBS)
            fetch.held.clear()
            yield Chronicle(
                _commits(store, tips),
                fetch.objects(),
                lambda oids: fetch.get(oids, None, None),
            )


def _commits(store: BaseObjectStore, tips: set[str]) -> tuple[ChronicleCommit, ...]:
    from dulwich.objects import Commit, ObjectID, Tag

    found: dict[str, ChronicleCommit] = {}
    seen: set[bytes] = set()
    waiting = [tip.encode() for tip in tips]
    while waiting:
        oid = waiting.pop()
        if oid in seen:
            continue
        seen.add(oid)
        try:
            read = store[ObjectID(oid)]
        except KeyError:
            continue  # a shallow clone ends here
        if isinstance(read, Commit):
            found[oid.decode()] = ChronicleCommit(
                oid.decode(), read.tree.decode(), read.commit_time
            )
            waiting += read.parents
        elif isinstance(read, Tag):
            waiting.append(read.object[1])
    return tuple(sorted(found.values(), key=lambda commit: (commit.time, commit.oid)))
