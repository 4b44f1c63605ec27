"""The history of a local clone, as far as one question needs it: what does the remote have?"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from codevault_cache.commits import Commit, commit_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from codevault_cache.gittree import Objects

_HERE, _THERE = 1, 2


def nearest_on(objects: Objects, head: str, tips: Iterable[str]) -> str | None:
    """Find the nearest ancestor of a commit that is reachable from some tips.

    Args:
        objects: The clone's.
        head: The commit.
        tips: Where the remote's branches were seen last.

    Returns:
        The commit itself if it is reachable, else an ancestor, else None.
    """
    tips = set(tips)
    if head in tips:
        return head
    marks: dict[str, int] = {}
    queue: list[tuple[int, str]] = []
    commits: dict[str, Commit] = {}

    def mark(oid: str, flag: int) -> None:
        before = marks.get(oid, 0)
        if before | flag == before:
            return
        if oid not in commits:
            found = commit_at(objects, oid)
            if found is None:
                return
            commits[oid] = found
        marks[oid] = before | flag
        heapq.heappush(queue, (-commits[oid].time, oid))

    mark(head, _HERE)
    for tip in tips:
        mark(tip, _THERE)
    # Newest first, as git does; as soon as both colours meet, this is a common ancestor.
    while queue:
        _, oid = heapq.heappop(queue)
        if marks[oid] == _HERE | _THERE:
            return oid
        for parent in commits[oid].parents:
            mark(parent, marks[oid])
    return None
