"""Which new key stands at the same place in the order of registration; names play no part."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from codevault.evolve.rows import Row, kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLACE, _OWNER = 4, 1
_MOST_CELLS = 4_000_000


def by_order(old: Sequence[Row], new: Sequence[Row], decided: Mapping[str, str]) -> dict[str, str]:
    """Old key to new key where order alone leaves one answer.

    Two readings: the best alignment of both lists (only what every best alignment contains), and
    the n-th of n of one shape, dtype and owner. Where they contradict each other nothing is said.
    """
    taken = set(decided.values())
    free_old = [row for row in old if row.key not in decided]
    free_new = [row for row in new if row.key not in taken]
    ranked = _nth_of_n(free_old, free_new)
    if len(old) * len(new) > _MOST_CELLS:
        old, new = free_old, free_new
    aligned = _aligned(old, new, decided) if len(old) * len(new) <= _MOST_CELLS else {}
    free = {row.key for row in free_old}
    said = {key: target for key, target in aligned.items() if key in free}
    for key, target in ranked.items():
        if said.setdefault(key, target) != target:
            del said[key]
    return said


def _nth_of_n(old: Sequence[Row], new: Sequence[Row]) -> dict[str, str]:
    ours, theirs = _classes(old), _classes(new)
    said: dict[str, str] = {}
    for what, keys in ours.items():
        others = theirs.get(what, [])
        # One of one is what the shape says, not the order.
        if len(keys) == len(others) > 1:
            said |= dict(zip(keys, others, strict=True))
    return said


def _classes(some: Sequence[Row]) -> dict[object, list[str]]:
    found: dict[object, list[str]] = defaultdict(list)
    for row in some:
        found[kind(row), row.owner].append(row.key)
    return found


def _aligned(old: Sequence[Row], new: Sequence[Row], decided: Mapping[str, str]) -> dict[str, str]:
    gains = _gains(old, new, decided)
    ahead = _table(gains, len(new))
    behind = [line[::-1] for line in _table([g[::-1] for g in gains[::-1]], len(new))][::-1]
    best = ahead[-1][-1]
    said: dict[str, str] = {}
    for i, row in enumerate(old):
        before, after = ahead[i], behind[i + 1]
        if any(x + y == best for x, y in zip(before, after, strict=True)):
            continue  # a best alignment does without this row
        places = [
            j for j, gain in enumerate(gains[i]) if gain and before[j] + gain + after[j + 1] == best
        ]
        if len(places) == 1:
            said[row.key] = new[places[0]].key
    return said


def _gains(old: Sequence[Row], new: Sequence[Row], decided: Mapping[str, str]) -> list[list[int]]:
    back = {target: key for key, target in decided.items()}
    lines = []
    for row in old:
        if row.key in decided:
            line = [_PLACE + _OWNER if other.key == decided[row.key] else 0 for other in new]
        else:
            line = [
                0
                if other.key in back or kind(row) != kind(other)
                else _PLACE + _OWNER * (row.owner == other.owner)
                for other in new
            ]
        lines.append(line)
    return lines


def _table(gains: Sequence[Sequence[int]], width: int) -> list[list[int]]:
    """The most that the first i rows and the first j rows gain, at [i][j]."""
    table = [[0] * (width + 1)]
    for line in gains:
        above, left, current = table[-1], 0, [0]
        for j, gain in enumerate(line):
            left = max(left, above[j + 1], above[j] + gain if gain else 0)
            current.append(left)
        table.append(current)
    return table
