"""Two things that must be equal for two registrations to be: what the comparison goes through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


class Pair(NamedTuple):
    """One thing of the first registrant's, and what the second has in its place.

    Attributes:
        first: The first's.
        second: The second's.
        where: How it is reached, in words.
        attributes: Of modules, the attributes that are used.
    """

    first: Any
    second: Any
    where: str
    attributes: frozenset[str] = frozenset()


Steps = Iterator[Pair | str]
"""What must be equal besides, or a difference in words, which ends the comparison."""


class Unreadable:
    """Stands for registered code that its registry does not give out."""


def unequal(first: Any, second: Any, where: str) -> str:
    """The difference of two plain values, in words."""
    texts = [text if len(text) <= 60 else text[:57] + "..." for text in map(repr, (first, second))]
    return f"{where} is {texts[0]} in one and {texts[1]} in the other"
