"""Which new key has the most similar name, among those of equal shape and dtype."""

from __future__ import annotations

from difflib import SequenceMatcher
from functools import lru_cache
from typing import TYPE_CHECKING

from codevault.evolve.rows import Family, Row, families, words

if TYPE_CHECKING:
    from collections.abc import Sequence

MARGIN = 0.03
"""By how much the best name must lead the second; less is a tie."""
FLOOR = 0.5
"""How similar a name must be that has no rival."""


@lru_cache(maxsize=65536)
def similarity(old: str, new: str) -> float:
    """How similar two templates are, from 0 to 1: words for the most part, letters for the rest."""
    by_word = SequenceMatcher(None, words(old), words(new), autojunk=False).ratio()
    by_letter = SequenceMatcher(None, old, new, autojunk=False).ratio()
    return 0.8 * by_word + 0.2 * by_letter


def by_name(old: Sequence[Row], new: Sequence[Row]) -> dict[str, str]:
    """Old key to new key where each is clearly the other's most similar name.

    Whole families are compared, and their members go by the rank of their numbers. Nothing is
    said where two names are about as similar, nor where the families are numbered differently.
    """
    theirs = families(new)
    said: dict[str, str] = {}
    for what, ours in families(old).items():
        rivals = theirs.get(what, [])
        for family in ours:
            best = _clear_best(family.template, rivals)
            if best is None or _clear_best(best.template, ours) is not family:
                continue
            if family.by_number.keys() == best.by_number.keys():
                said |= {key: best.by_number[n] for n, key in family.by_number.items()}
    return said


def _clear_best(name: str, rivals: Sequence[Family]) -> Family | None:
    ranked = sorted(
        ((similarity(*sorted((name, r.template))), i) for i, r in enumerate(rivals)), reverse=True
    )
    if not ranked or (len(ranked) == 1 and ranked[0][0] < FLOOR):
        return None
    if len(ranked) > 1 and ranked[0][0] - ranked[1][0] < MARGIN:
        return None
    return rivals[ranked[0][1]]
