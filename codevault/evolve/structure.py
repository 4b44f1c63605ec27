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
        self._shares: dict[tuple[str, str], float] = {}

    def share(self, old: str, new: str) -> float:
        """How much is equal of the largest sub-modules that end in these keys, from 0 to 1."""
        pair = _above_common_end(old, new)
        if pair is None:
            return 0.0
        if pair not in self._shares:
            ours, theirs = self._old[pair[0]], self._new[pair[1]]
            equal = sum(theirs.get(place) == what for place, what in ours.items())
            self._shares[pair] = 2 * equal / (len(ours) + len(theirs)) if equal > 1 else 0.0
        return self._shares[pair]


def by_structure(moves: Moves, old: Sequence[Row], new: Sequence[Row]) -> dict[str, str]:
    """Old key to new key where one sub-module's contents fit better than all others'."""
    ours, theirs = defaultdict(list), defaultdict(list)
    for row in old:
        ours[kind(row)].append(row.key)
    for row in new:
        theirs[kind(row)].append(row.key)
    said: dict[str, str] = {}
    for what, keys in ours.items():
        shares = [[moves.share(key, other) for other in theirs[what]] for key in keys]
        for i, line in enumerate(shares):
            best = max(line, default=0.0)
            if best < _LEAST or line.count(best) > 1:
                continue
            j = line.index(best)
            if [other[j] for k, other in enumerate(shares) if k != i and other[j] >= best] == []:
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


def _above_common_end(old: str, new: str) -> tuple[str, str] | None:
    ours, theirs = old.split("."), new.split(".")
    same = 0
    while same < min(len(ours), len(theirs)) and ours[-1 - same] == theirs[-1 - same]:
        same += 1
    if not same:
        return None
    return ".".join(ours[: len(ours) - same]), ".".join(theirs[: len(theirs) - same])
