"""What matching is held against: one kind of evidence alone.

    names   each key takes the most similar free name of its shape, best pairs first
    order   the n-th remaining old key takes the n-th remaining new one, if the shapes agree
    shapes  a key takes the only new key of its shape and last name

All three keep equal names of equal shape.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from difflib import SequenceMatcher
from typing import Any, Final

Matcher = Callable[[list[Any], list[Any]], dict[str, str]]


def free(old: list[Any], new: list[Any]) -> tuple[dict[str, str], list[Any], list[Any]]:
    shapes = {row[0]: row[1] for row in new}
    same = {row[0]: row[0] for row in old if shapes.get(row[0]) == row[1]}
    return same, [r for r in old if r[0] not in same], [r for r in new if r[0] not in same]


def names(old: list[Any], new: list[Any]) -> dict[str, str]:
    found, ours, theirs = free(old, new)
    pairs = sorted(
        (
            (SequenceMatcher(None, a[0], b[0], autojunk=False).ratio(), a[0], b[0])
            for a in ours
            for b in theirs
            if a[1] == b[1]
        ),
        reverse=True,
    )
    taken: set[str] = set()
    for _, source, target in pairs:
        if source not in found and target not in taken:
            found[source] = target
            taken.add(target)
    return found


def order(old: list[Any], new: list[Any]) -> dict[str, str]:
    found, ours, theirs = free(old, new)
    return found | {a[0]: b[0] for a, b in zip(ours, theirs, strict=False) if a[1] == b[1]}


def shapes(old: list[Any], new: list[Any]) -> dict[str, str]:
    found, ours, theirs = free(old, new)
    sides: list[dict[object, list[str]]] = []
    for rows in (ours, theirs):
        side: dict[object, list[str]] = defaultdict(list)
        for key, shape, *_ in rows:
            side[tuple(shape), key.rpartition(".")[2]].append(key)
        sides.append(side)
    return found | {
        keys[0]: sides[1][what][0]
        for what, keys in sides[0].items()
        if len(keys) == 1 == len(sides[1].get(what, []))
    }


BASELINES: Final[dict[str, Matcher]] = {
    "names alone": names,
    "order alone": order,
    "shapes alone": shapes,
}
