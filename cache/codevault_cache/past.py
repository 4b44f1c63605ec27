"""The past of a local clone: the commits of its main line between two, and files as of each."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault_cache.errors import CacheError
from codevault_cache.gitdir import gitdir_of
from codevault_cache.gitobjects import TREE, TreeEntry, parse_tree, tree_of_commit
from codevault_cache.gittree import Objects
from codevault_cache.source import Absent

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST = 20_000
"""How many commits are walked at most."""


@dataclass(frozen=True, slots=True)
class Step:
    """One commit.

    Attributes:
        commit: Its id.
        tree: The id of its tree.
        parents: The ids of its parents.
        seconds: When it was committed, since 1970.
        subject: The first line of its message.
    """

    commit: str
    tree: str
    parents: tuple[str, ...]
    seconds: int
    subject: str


class Past:
    """Commits in order, the oldest first, and the files of each.

    Attributes:
        steps: The old commit; then those of the new one's line of first parents that came after it.
            Where the old commit is not on that line, the last one of the line before it stands in
            between.
    """

    def __init__(self, objects: Objects, steps: tuple[Step, ...]) -> None:
        self.steps = steps
        self._objects = objects
        self._trees: dict[str, dict[str, TreeEntry]] = {}

    def oid(self, step: int, path: str) -> str | None:
        """The id of a file's content as of a step; None if there is no such file."""
        oid = self.steps[step].tree
        parts = path.split("/")
        for part in parts[:-1]:
            entry = self._entries(oid).get(part)
            if entry is None or entry.mode != TREE:
                return None
            oid = entry.oid
        entry = self._entries(oid).get(parts[-1])
        return None if entry is None or entry.mode == TREE else entry.oid

    def read(self, oid: str) -> bytes | None:
        """Content by its id; None if this clone lacks it."""
        try:
            return self._objects.get(oid, "blob")
        except (Absent, CacheError):
            return None

    def _entries(self, oid: str) -> dict[str, TreeEntry]:
        if oid not in self._trees:
            try:
                entries = parse_tree(self._objects.get(oid, "tree"), len(oid) // 2)
            except (Absent, CacheError):
                entries = []
            self._trees[oid] = {entry.name: entry for entry in entries}
        return self._trees[oid]


@contextlib.contextmanager
def past(place: str, old: str, new: str | None) -> Iterator[Past | None]:
    """Opens the past of a local repository; nothing in it is written.

    Args:
        place: A work tree, a `.git` folder or a bare repository.
        old: A commit.
        new: A later one; None for the one that is checked out.

    Yields:
        The commits; None where the place is no repository, or lacks one of the two.
    """
    found = gitdir_of(place)
    if found is None:
        yield None
        return
    from codevault_cache.depot import read_only

    head = _head(place) if new is None else new
    with read_only(found.objects, old) as store:
        objects = Objects(store)
        steps = () if head is None else _steps(objects, old, head)
        yield Past(objects, steps) if steps else None


def _head(place: str) -> str | None:
    from dulwich.errors import NotGitRepository
    from dulwich.repo import Repo

    try:
        with Repo(place) as repo:
            return repo.head().decode()
    except (NotGitRepository, KeyError):
        return None


def _steps(objects: Objects, old: str, new: str) -> tuple[Step, ...]:
    first, last = _step(objects, old), _step(objects, new)
    if first is None or last is None:
        return ()
    line: list[Step] = []
    step: Step | None = last
    while step is not None and step.commit != old and len(line) < _MOST:
        line.append(step)
        if step.seconds < first.seconds:
            break
        step = _step(objects, step.parents[0]) if step.parents else None
    return (first, *reversed(line))


def _step(objects: Objects, commit: str) -> Step | None:
    try:
        raw = objects.get(commit, "commit")
    except (Absent, CacheError):
        return None  # a shallow clone ends here
    header, _, message = raw.partition(b"\n\n")
    parents, seconds = [], 0
    for line in header.split(b"\n"):
        if line.startswith(b"parent "):
            parents.append(line[7:].decode())
        elif line.startswith(b"committer "):
            with contextlib.suppress(ValueError, IndexError):
                seconds = int(line.rsplit(b" ", 2)[1])
    subject = message.lstrip(b"\n").partition(b"\n")[0].decode("utf-8", "replace")
    return Step(commit, tree_of_commit(raw), tuple(parents), seconds, subject.strip())
