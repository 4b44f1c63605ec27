"""Few rename rules for many renamed keys: a pattern is used only where it is right for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault.evolve.patterns import match, write

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Rename:
    """A `rename` rule."""

    old: str
    new: str
    keys: tuple[str, ...]
    """The old keys that it takes."""


def generalised(moves: Mapping[str, str | None]) -> list[Rename]:
    """The fewest rename rules that the shortest patterns give.

    Args:
        moves: For every key of the state_dict its new key; None where that is not known, so that
            no rule may take it. Keys that keep their name need no rule.
    """
    rules: list[Rename] = []
    done: set[str] = set()
    for key, new in moves.items():
        if new is None or new == key or key in done:
            continue
        for old_pattern, new_pattern in _patterns(key, new):
            found = {other: match(old_pattern, other) for other in moves}
            taken = {other: what for other, what in found.items() if what is not None}
            if all(moves[other] == write(new_pattern, what) for other, what in taken.items()):
                rules.append(Rename(old_pattern, new_pattern, tuple(taken)))
                done |= set(taken)
                break
    return rules


def _patterns(old: str, new: str) -> Iterator[tuple[str, str]]:
    """Pairs of patterns that rename one key to the other, the shortest first."""
    ours, theirs = old.split("."), new.split(".")
    alike = 0
    while alike < min(len(ours), len(theirs)) - 1 and ours[-1 - alike] == theirs[-1 - alike]:
        alike += 1
    for cut in range(alike, -1, -1):
        one, other = ours[: len(ours) - cut], theirs[: len(theirs) - cut]
        starred = _starred(one, other)
        if starred is not None:
            yield starred
        yield ".".join(one), ".".join(other)


def _starred(old: list[str], new: list[str]) -> tuple[str, str] | None:
    """The patterns with stars for all numbers of the old one, if the new one has these in order."""
    made, start = list(new), 0
    for number in (segment for segment in old if segment.isdecimal()):
        if number not in new[start:]:
            return None
        start = new.index(number, start)
        made[start] = "*"
        start += 1
    if "*" not in made:
        return None
    return ".".join("*" if segment.isdecimal() else segment for segment in old), ".".join(made)


def gathered(some: Collection[str], every: Collection[str]) -> dict[str, list[str]]:
    """Keys by the shortest pattern without stars that takes only such keys, in their order.

    Args:
        some: The keys.
        every: All keys of the state_dict.
    """
    wanted, found = set(some), dict[str, list[str]]()
    for key in some:
        parts = key.split(".")
        prefixes = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
        for prefix in prefixes:
            taken = [other for other in every if match(prefix, other) is not None]
            if wanted.issuperset(taken):
                found.setdefault(prefix, []).append(key)
                break
    return found
