"""Commits, read by their ids and followed to what they came from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from codevault_cache.gitobjects import tree_of_commit
from codevault_cache.source import Absent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from codevault_cache.gittree import Objects

_PARENT: Final = re.compile(rb"parent ([0-9a-f]{40}|[0-9a-f]{64})")
_TAGGED: Final = re.compile(rb"object ([0-9a-f]{40}|[0-9a-f]{64})\n")
_COMMITTED: Final = re.compile(rb"^committer .*> (-?[0-9]{1,18}) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit.

    Attributes:
        oid: Its full id.
        tree: The id of its tree.
        parents: The ids of its parents.
        time: When it was committed, in seconds since 1970; 0 where it does not say.
        subject: The first line of its message.
    """

    oid: str
    tree: str
    parents: tuple[str, ...]
    time: int
    subject: str


def commit_at(objects: Objects, oid: str) -> Commit | None:
    """A commit by its id; None for what is not there, or is none.

    Raises:
        HostileObject: It is damaged.
    """
    try:
        kind, raw = objects.read(oid)
    except Absent:
        return None  # a shallow clone ends here
    return _parsed(oid, raw) if kind == "commit" else None


def led_to(objects: Objects, tips: Iterable[str]) -> dict[str, Commit]:
    """All commits that some commits and tags lead to, by their ids, as far as they are there.

    Raises:
        HostileObject: One is damaged.
    """
    found: dict[str, Commit] = {}
    seen: set[str] = set()
    waiting = list(tips)
    while waiting:
        oid = waiting.pop()
        if oid in seen:
            continue
        seen.add(oid)
        try:
            kind, raw = objects.read(oid)
        except Absent:
            continue  # a shallow clone ends here
        if kind == "commit":
            found[oid] = _parsed(oid, raw)
            waiting += found[oid].parents
        elif kind == "tag" and (tagged := _TAGGED.match(raw)):
            waiting.append(tagged[1].decode())
    return found


def _parsed(oid: str, raw: bytes) -> Commit:
    header, _, message = raw.partition(b"\n\n")
    # As git reads them: parents stand right behind the tree, and nowhere else.
    lines = map(_PARENT.fullmatch, header.split(b"\n")[1:])
    parents = tuple(line[1].decode() for line in takewhile(bool, lines) if line)
    committed = _COMMITTED.search(header)
    subject = message.lstrip(b"\n").partition(b"\n")[0].decode("utf-8", "replace")
    time = int(committed[1]) if committed else 0
    return Commit(oid, tree_of_commit(raw), parents, time, subject.strip())
