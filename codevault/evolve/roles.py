"""Which new key does for the outputs what an old one did, whatever it is called."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault.evolve.rows import Row, kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Roles:
    """What a run of a module tells about its parameters.

    Attributes:
        gradients: By key, a fingerprint of the parameter's gradient, where every parameter has
            values that its shape alone decides. Keys without a gradient are left out.
        unused: Keys of parameters and buffers that no operation of the run touches.
        precision: How far fingerprints of the same role may be apart, relative to their size.
    """

    gradients: Mapping[str, tuple[float, ...]]
    unused: frozenset[str]
    precision: float


@dataclass(frozen=True)
class Players:
    """Who plays the same role, and who cannot.

    Attributes:
        same: Old key to the new keys of its shape and dtype that do what it did.
        new: New keys that do what some old key did.
        idle: Old keys that the run did not use, and new ones.
        complete: True if every role of either version is found in the other, so that both are one
            function of their parameters.
    """

    same: Mapping[str, frozenset[str]]
    new: frozenset[str]
    idle: tuple[frozenset[str], frozenset[str]]
    complete: bool

    def alone(self) -> dict[str, str]:
        """Old key to new key where each is the only one in the other's role."""
        wanted: dict[str, int] = defaultdict(int)
        for targets in self.same.values():
            for target in targets:
                wanted[target] += 1
        only = {key: next(iter(t)) for key, t in self.same.items() if len(t) == 1}
        return {key: target for key, target in only.items() if wanted[target] == 1}

    def against(self, old: str, new: str) -> str:
        """Why the new key cannot be what the old one was, or an empty text."""
        if old in self.same or new in self.new:
            return "" if new in self.same.get(old, ()) else "other role"
        return "used" if (old in self.idle[0]) != (new in self.idle[1]) else ""


def players(roles: tuple[Roles, Roles] | None, old: Sequence[Row], new: Sequence[Row]) -> Players:
    """Compares what two runs told; without runs, everything is possible."""
    if roles is None:
        return Players({}, frozenset(), (frozenset(), frozenset()), complete=False)
    before, after = roles
    precision = max(before.precision, after.precision)
    there: dict[object, list[tuple[tuple[float, ...], str]]] = defaultdict(list)
    for row in new:
        if row.key in after.gradients:
            there[kind(row)].append((after.gradients[row.key], row.key))
    for some in there.values():
        some.sort()
    same = {
        row.key: _alike(before.gradients[row.key], there[kind(row)], precision)
        for row in old
        if row.key in before.gradients
    }
    found = {key: targets for key, targets in same.items() if targets}
    played = frozenset[str]().union(*found.values())
    return Players(
        same=found,
        new=played,
        idle=(before.unused, after.unused),
        complete=len(found) == len(same) > 0 and len(played) == sum(map(len, there.values())),
    )


def _alike(
    wanted: tuple[float, ...], some: Sequence[tuple[tuple[float, ...], str]], precision: float
) -> frozenset[str]:
    room = 2 * precision * max(map(abs, wanted))
    first = bisect_left(some, ((wanted[0] - room,), ""))
    last = bisect_right(some, ((wanted[0] + room,), ""))
    return frozenset(key for other, key in some[first:last] if _apart(wanted, other) <= precision)


def _apart(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    size = max(map(abs, (*one, *other)))
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) / size
