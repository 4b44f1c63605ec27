"""Which removed field may have become which new one."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Final

from codevault.evolve.fields import REQUIRED, values_of

if TYPE_CHECKING:
    from codevault.evolve.fields import Fields

_CERTAIN: Final = 0.6
"""From which likeness on a pair is worth a guess."""
_TRIVIAL: Final = (None, True, False, 0, 1)


def likely_renames(
    ours: Fields, theirs: Fields, gone: list[str], come: list[str]
) -> dict[str, tuple[str, str]]:
    """Which removed field may have become which new one, and what speaks for it; best first."""
    alone = len(gone) == len(come) == 1
    rated = sorted(
        (
            (*_likeness(ours, theirs, one, other, alone=alone), one, other)
            for one in gone
            for other in come
        ),
        key=lambda row: -row[0],
    )
    found: dict[str, tuple[str, str]] = {}
    taken: set[str] = set()
    for likeness, why, one, other in rated:
        if likeness >= _CERTAIN and one not in found and other not in taken:
            found[one] = other, why
            taken.add(other)
    return found


def _likeness(
    ours: Fields, theirs: Fields, one: str, other: str, *, alone: bool
) -> tuple[float, str]:
    before, after = ours.defaults.get(one, REQUIRED), theirs.defaults[other]
    name = SequenceMatcher(None, one, other).ratio()
    places = [list(ours.defaults).index(one) if one in ours.defaults else -1]
    places.append(list(theirs.defaults).index(other))
    same_kind = type(before) is type(after) or _are_configs(before, after)
    same_place = places[0] == places[1] and same_kind
    same_default = same_kind and _equal(before, after)
    trivial = same_default and any(before is value for value in (REQUIRED, *_TRIVIAL))
    weight = 0.5 * same_place + (0.15 if trivial else 0.4) * same_default
    weight += 0.15 * alone
    why = ["like name"] * (name >= 0.6) + ["same place"] * same_place
    why += ["same default"] * same_default + ["no other went or came"] * alone
    return weight + (name if name >= 0.6 else 0.0), ", ".join(why)


def _are_configs(one: Any, other: Any) -> bool:
    """Whether both are nested configs; the two versions' classes are never the same object."""
    return values_of(one) is not None and values_of(other) is not None


def _equal(one: Any, other: Any) -> bool:
    if _are_configs(one, other):
        ours, theirs = values_of(one) or {}, values_of(other) or {}
        return ours.keys() == theirs.keys() and all(_equal(v, theirs[n]) for n, v in ours.items())
    try:
        return bool(one == other)
    except Exception:
        return False
