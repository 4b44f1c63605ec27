"""Which new sub-module holds the same parameters: whole sub-modules move together."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from codevault.evolve.rows import Row, kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LEAST = 0.5
"""The share of two sub-modules that must be equal before it counts as a move."""


class Moves:
    """Compares the sub-modules of two state_dicts, each pair once."""

    def __init__(self, old: Sequence[Row], new: Sequence[Row]) -> None:
        self._old, self._new = _subtrees(old), _subtrees(new)
        self._equal: dict[tuple[str, str], int] = {}

    def together(self, old: str, new: str) -> int:
        """How many rows moved together, if these keys are one: in their largest equal sub-modules.

        Sub-modules that end in these keys alike, and are equal in at least half of what they hold.
        """
        ours, theirs = old.split("."), new.split(".")
        most = 0
        for depth in range(1, min(len(ours), len(theirs)) + 1):
            if ours[-depth] != theirs[-depth]:
                break
            pair = ".".join(ours[:-depth]), ".".join(theirs[:-depth])
            if pair not in self._equal:
                self._equal[pair] = self._counted(*pair)
            most = max(most, self._equal[pair])
        return most

    def _counted(self, old: str, new: str) -> int:
        ours, theirs = self._old[old], self._new[new]
        equal = sum(theirs.get(place) == what for place, what in ours.items())
        return equal if equal > 1 and equal >= _LEAST * max(len(ours), len(theirs)) else 0


def by_structure(moves: Moves, old: Sequence[Row], new: Sequence[Row]) -> dict[str, str]:
    """Old key to new key where more moves together than with any other."""
    ours, theirs = defaultdict(list), defaultdict(list)
    for row in old:
        ours[kind(row)].append(row.key)
    for row in new:
        theirs[kind(row)].append(row.key)
    said: dict[str, str] = {}
    for what, keys in ours.items():
        counts = [[moves.together(key, other) for other in theirs[what]] for key in keys]
        for i, line in enumerate(counts):
            best = max(line, default=0)
            if not best or line.count(best) > 1:
                continue
            j = line.index(best)
            if not any(other[j] >= best for k, other in enumerate(counts) if k != i):
                said[keys[i]] = theirs[what][j]
    return said


def by_siblings(
    decided: Mapping[str, str], old: Sequence[Row], new: Sequence[Row]
) -> dict[str, str]:
    """Old key to new key where the other parameters of the same module are known to have gone."""
    went: dict[str, set[str]] = defaultdict(set)
    for source, target in decided.items():
        (module, _, leaf), (other, _, end) = source.rpartition("."), target.rpartition(".")
        if leaf == end:
            went[module].add(other)
    there = {row.key: kind(row) for row in new}
    said: dict[str, str] = {}
    for row in old:
        module, _, leaf = row.key.rpartition(".")
        # A root's parameters are no module that moves as one.
        if module and len(went[module]) == 1:
            target = f"{next(iter(went[module]))}.{leaf}"
            if there.get(target) == kind(row):
                said[row.key] = target
    return said


def _subtrees(some: Sequence[Row]) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = defaultdict(dict)
    for row in some:
        parts = row.key.split(".")
        for depth in range(len(parts)):
            found[".".join(parts[:depth])][".".join(parts[depth:])] = kind(row)
    return found
