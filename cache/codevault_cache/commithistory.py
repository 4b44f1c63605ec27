"""The past of a repository: its commits with their trees and files, to be read and not to run.

A local repository is read where it lies. Of a remote one, commits and trees of all branches and
tags are fetched, and then only the files that are asked for.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Final

from codevault_cache import environ, paths
from codevault_cache.address import address_of
from codevault_cache.commits import Commit, commit_at, led_to
from codevault_cache.errors import CredentialsMissing, Offline
from codevault_cache.gitdir import refs_at
from codevault_cache.gitobjects import TREE, TreeEntry, parse_tree
from codevault_cache.gittree import Objects
from codevault_cache.objectstores import depot, read_only
from codevault_cache.source import Absent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from codevault_cache.address import Address
    from codevault_cache.cache import Cache
    from codevault_cache.systemgit import SystemGit
    from codevault_cache.wire import Wire

_REFS: Final = (b"refs/heads/", b"refs/tags/", b"refs/remotes/", b"HEAD")
_AT_ONCE: Final = 2000
"""How many files a server is asked for at once."""
_LONGEST: Final = 20_000
"""How many commits of one line are followed at most."""


class Chronicle:
    """What is known of a repository's past.

    Attributes:
        head: The commit that is checked out; None for a server's.
    """

    def __init__(
        self,
        objects: Objects,
        tips: Iterable[str],
        head: str | None,
        bring: Callable[[list[str]], None] | None,
    ) -> None:
        self.head = head
        self._objects = objects
        self._tips = tips
        self._bring = bring
        self.entries = lru_cache(maxsize=1 << 15)(self._entries)

    @cached_property
    def commits(self) -> tuple[Commit, ...]:
        """All that a branch or tag leads to, oldest first."""
        found = led_to(self._objects, self._tips).values()
        return tuple(sorted(found, key=lambda commit: (commit.time, commit.oid)))

    def line(self, old: str, new: str) -> tuple[Commit, ...]:
        """The old commit; then those of the new one's line of first parents that came after it.

        Where the old commit is not on that line, the last one of the line before it stands in
        between. None where one of the two is not there.
        """
        first, last = commit_at(self._objects, old), commit_at(self._objects, new)
        if first is None or last is None:
            return ()
        line: list[Commit] = []
        step: Commit | None = last
        while step is not None and step.oid != old and len(line) < _LONGEST:
            line.append(step)
            if step.time < first.time:
                break
            step = commit_at(self._objects, step.parents[0]) if step.parents else None
        return (first, *reversed(line))

    def _entries(self, tree: str) -> Mapping[str, TreeEntry]:
        """The lines of a tree by their names; none for one that a partial clone lacks."""
        try:
            lines = parse_tree(self._objects.get(tree, "tree"), len(tree) // 2)
        except Absent:
            return {}
        return {line.name: line for line in lines}

    def entry(self, tree: str, path: str) -> TreeEntry | None:
        """The line of a tree for a path below it, or None."""
        name, _, rest = path.partition("/")
        found = self.entries(tree).get(name)
        if found is None or not rest:
            return found
        return self.entry(found.oid, rest) if found.mode == TREE else None

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
    opened = chronicle_at(address.path) if address.kind == "local" else _remote(cache, address)
    with opened as found:
        yield found


@contextmanager
def chronicle_at(path: str) -> Iterator[Chronicle]:
    """The past of a repository on this machine, for as long as the block runs.

    Args:
        path: A work tree, a bare repository or a `.git` folder.

    Raises:
        RepositoryNotFound: There is no such repository.
    """
    found, refs = refs_at(path)
    tips = {oid for name, oid in refs.items() if name.startswith(_REFS)}
    if not tips:
        yield Chronicle(Objects(None), (), None, None)
        return
    with read_only(found.objects, next(iter(tips))) as store:
        yield Chronicle(Objects(store), tips, refs.get(b"HEAD"), None)


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
            yield Chronicle(Objects(None), (), None, None)
            return
        path = paths.objects(root, paths.depot_key(address.public))
        with depot(path, next(iter(tips))) as store:
            fetch = Fetch(store, asked, paths.tmp(root), {})
            fetch.get(sorted(tips), None, NO_BLOBS)
            fetch.held.clear()
            bring = partial(fetch.get, depth=None, spec=None)
            yield Chronicle(fetch.objects(), tips, None, bring)
