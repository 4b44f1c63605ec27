"""What an old key may have become, where it is not certain, and what speaks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault.evolve.names import nearness

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codevault.evolve.roles import Players
    from codevault.evolve.rows import Row
    from codevault.evolve.structure import Moves

_MOST_CANDIDATES = 8


@dataclass(frozen=True)
class Candidate:
    """A new key that an old one may have become, and what speaks for it."""

    key: str
    evidence: tuple[str, ...]
    """Of `role` (it does the same for the outputs), `same name`, `name`, `order`, `structure`,
    `siblings` (the rest of the module went there), `shape` (no other has it), `owner`, and
    against it `other role`, `used` (in the run of one version alone), `other dtype`,
    `other shape`."""


def candidates(
    row: Row,
    free: Sequence[Row],
    said: Mapping[str, set[str]],
    moves: Moves,
    cast: Players,
) -> tuple[Candidate, ...]:
    """What an old key may have become, the best first: of its shape, or else of its name.

    Args:
        row: The old key.
        free: New keys that are nobody's.
        said: New key to what speaks for it.
        moves: Sub-modules that hold the same.
        cast: Who plays which role.
    """
    fitting = [other for other in free if other.shape == row.shape] or [
        other for other in free if other.key == row.key
    ]

    most = max([1, *(moves.together(row.key, other.key) for other in fitting)])

    def rank(other: Row) -> tuple[float, ...]:
        alike = nearness(row.key, other.key)
        return (
            row.dtype == other.dtype,
            not cast.against(row.key, other.key),
            len(said.get(other.key, ())),
            moves.together(row.key, other.key) / most + alike + 0.2 * (row.owner == other.owner),
        )

    fitting.sort(key=rank, reverse=True)
    return tuple(
        Candidate(other.key, _evidence(row, other, said.get(other.key, set()), cast))
        for other in fitting[:_MOST_CANDIDATES]
    )


def _evidence(row: Row, other: Row, said: set[str], cast: Players) -> tuple[str, ...]:
    role = cast.against(row.key, other.key)
    against = {
        role: bool(role),
        "other shape": row.shape != other.shape,
        "other dtype": row.dtype != other.dtype,
    }
    owner = ["owner"] if row.owner == other.owner else []
    return (*sorted(said), *owner, *(text for text, holds in against.items() if holds))
