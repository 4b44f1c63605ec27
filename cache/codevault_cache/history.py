"""The history of a local clone, as far as one question needs it: what does the remote have?"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dulwich.repo import Repo

_HERE, _THERE = 1, 2


def nearest_on(repo: Repo, head: str, tips: Iterable[str]) -> str | None:
    """Find the nearest ancestor of a commit that is reachable from some tips.

    Args:
        repo: The clone.
        head: The commit.
        tips: Where the remote's branches were seen last.

    Returns:
        The commit itself if it is reachable, else an ancestor, else None.
    """
    from dulwich.objects import Commit

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
            try:
                found = repo.object_store[oid.encode()]  # type: ignore[index]
            except KeyError:
                return  # a shallow clone ends here
            if not isinstance(found, Commit):
                return
            commits[oid] = found
        marks[oid] = before | flag
        heapq.heappush(queue, (-commits[oid].commit_time, oid))

    mark(head, _HERE)
    for tip in tips:
        mark(tip, _THERE)
    # Newest first, as git does; as soon as both colours meet, this is a common ancestor.
    while queue:
        _, oid = heapq.heappop(queue)
        if marks[oid] == _HERE | _THERE:
            return oid
        for parent in commits[oid].parents:
            mark(parent.decode(), marks[oid])
    return None
