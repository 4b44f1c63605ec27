"""Which new key has the most similar name, among those of equal shape and dtype."""

from __future__ import annotations

from collections import defaultdict
from difflib import SequenceMatcher
from functools import lru_cache
from typing import TYPE_CHECKING

from codevault.evolve.rows import Row, families, kind, words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MARGIN = 0.03
"""By how much the best name must lead the second; less is a tie."""
FLOOR = 0.5
"""How similar a name must be that has no rival."""


@lru_cache(maxsize=65536)
def similarity(old: str, new: str) -> float:
    """How similar two templates are, from 0 to 1: words mostly, letters for the rest."""
    old, new = sorted((old, new))  # SequenceMatcher's answer depends on the order
    by_word = SequenceMatcher(None, words(old), words(new), autojunk=False).ratio()
    by_letter = SequenceMatcher(None, old, new, autojunk=False).ratio()
    return 0.8 * by_word + 0.2 * by_letter


def nearness(old: str, new: str) -> float:
    """As `similarity`, and how much of the way down from the root two keys share."""
    return 0.7 * similarity(old, new) + 0.3 * _same_parents(old, new)


def _same_parents(old: str, new: str) -> float:
    ours, theirs = old.split("."), new.split(".")
    same = 0
    while same < min(len(ours), len(theirs)) and ours[same] == theirs[same]:
        same += 1
    return 2 * same / (len(ours) + len(theirs))


def by_name(old: Sequence[Row], new: Sequence[Row]) -> dict[str, str]:
    """Old key to new key where each is clearly the other's most similar name.

    Whole families are compared first, and their members go by the rank of their numbers; what is
    left, key by key with the numbers as they are. Nothing is said where two are about as similar.
    """
    said = _by_family(old, new)
    taken = set(said.values())
    rest = _by_kind([row for row in new if row.key not in taken])
    for what, keys in _by_kind([row for row in old if row.key not in said]).items():
        rivals = rest.get(what, [])
        for key in keys:
            best = _clear_best(key, rivals, nearness)
            if best is not None and _clear_best(rivals[best], keys, nearness) == keys.index(key):
                said[key] = rivals[best]
    return said


def _by_kind(some: Sequence[Row]) -> dict[object, list[str]]:
    found: dict[object, list[str]] = defaultdict(list)
    for row in some:
        found[kind(row)].append(row.key)
    return found


def _by_family(old: Sequence[Row], new: Sequence[Row]) -> dict[str, str]:
    theirs = families(new)
    said: dict[str, str] = {}
    for what, ours in families(old).items():
        rivals = theirs.get(what, [])
        names, others = [f.template for f in ours], [f.template for f in rivals]
        for i, family in enumerate(ours):
            best = _clear_best(family.template, others, similarity)
            if best is None or _clear_best(others[best], names, similarity) != i:
                continue
            numbers = rivals[best].by_number
            if family.by_number.keys() == numbers.keys():
                said |= {key: numbers[n] for n, key in family.by_number.items()}
    return said


def _clear_best(name: str, rivals: Sequence[str], alike: Callable[[str, str], float]) -> int | None:
    ranked = sorted(((alike(name, rival), i) for i, rival in enumerate(rivals)), reverse=True)
    if not ranked or (len(ranked) == 1 and ranked[0][0] < FLOOR):
        return None
    if len(ranked) > 1 and ranked[0][0] - ranked[1][0] < MARGIN:
        return None
    return ranked[0][1]
