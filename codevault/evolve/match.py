"""Which key of an old state_dict became which key of a new one; what is not certain is asked."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from codevault.evolve.names import by_name, nearness
from codevault.evolve.order import by_order
from codevault.evolve.rows import Row, families, kind, rows, template
from codevault.evolve.structure import Moves, by_siblings, by_structure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MOST_CANDIDATES = 8
# Siblings were decided by both kinds of evidence, and so count as either.
_BY_NAMES = {"same name", "name", "structure", "siblings"}
_WITHOUT = {"order", "shape", "siblings"}
_ROLES = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


@dataclass(frozen=True)
class Candidate:
    """A new key that an old one may have become, and what speaks for it."""

    key: str
    evidence: tuple[str, ...]
    """Of `same name`, `name`, `order`, `structure`, `siblings` (the rest of the module went
    there), `shape` (no other has it), `owner`, and against it `other dtype`, `other shape`."""


@dataclass(frozen=True)
class Match:
    """Each old key is in exactly one of `automatic`, `asked` and `dropped`."""

    automatic: Mapping[str, str]
    """Old key to new key, where independent evidence agrees; no new key stands there twice."""
    asked: Mapping[str, tuple[Candidate, ...]]
    """Old key to its candidates, the best first."""
    dropped: tuple[str, ...]
    """Old keys that no new key can take the place of."""
    added: tuple[str, ...]
    """New keys that are neither an automatic target nor anyone's candidate."""


def match_state_dicts(
    old: Iterable[Sequence[object]],
    new: Iterable[Sequence[object]],
    *,
    tied: Iterable[Sequence[str]] = (),
) -> Match:
    """Match the keys of two state_dicts by name, order, structure and shape.

    A key that kept name, shape and dtype is matched, unless its numbered siblings became more,
    fewer or renumbered: then an insertion may have shifted it. Any other key is matched only if
    evidence from names (`same name`, `name`, `structure`) and evidence without them (`order`,
    `shape`) agree, and nothing speaks against it; the rest of its module (`siblings`) counts as
    either, not as both.

    Args:
        old: Entries (key, shape, dtype, owner class name) in the order of the state_dict.
        new: The same of the other version.
        tied: Groups of new keys that are one tensor; only the first of each, or the one that
            kept its name, takes part, and the others are not `added`.

    Raises:
        ValueError: a key stands twice in `old` or in `new`.
    """
    ours, theirs = rows(old), rows(new)
    copies = _copies(tied, {row.key for row in ours})
    theirs = [row for row in theirs if row.key not in copies]
    decided = _same_names(ours, theirs)
    moves = Moves(ours, theirs)
    while True:
        said = _said(ours, theirs, decided, moves)
        agreed = _agreed(said)
        if not agreed:
            break
        decided |= agreed
    return _result(ours, theirs, decided, said, moves)


def _copies(tied: Iterable[Sequence[str]], old: set[str]) -> set[str]:
    found: set[str] = set()
    for group in tied:
        stays = next((key for key in group if key in old), group[0])
        found |= set(group) - {stays}
    return found


def _same_names(old: Sequence[Row], new: Sequence[Row]) -> dict[str, str]:
    ours, theirs = _numbered(old), _numbered(new)
    kinds = {row.key: kind(row) for row in new}
    return {
        row.key: row.key
        for row in old
        if kinds.get(row.key) == kind(row)
        and ours[kind(row), template(row.key)] == theirs[kind(row), template(row.key)]
    }


def _numbered(some: Sequence[Row]) -> dict[object, set[str]]:
    return {
        (what, family.template): set(family.by_number.values())
        for what, found in families(some).items()
        for family in found
    }


def _said(
    old: Sequence[Row], new: Sequence[Row], decided: Mapping[str, str], moves: Moves
) -> dict[str, dict[str, set[str]]]:
    """What speaks for which target: old key -> new key -> evidence."""
    taken = set(decided.values())
    ours = [row for row in old if row.key not in decided]
    theirs = [row for row in new if row.key not in taken]
    said: dict[str, dict[str, set[str]]] = {row.key: defaultdict(set) for row in ours}
    votes = {
        "name": by_name(ours, theirs),
        "order": by_order(old, new, decided),
        "structure": by_structure(moves, ours, theirs),
        "siblings": by_siblings(decided, ours, theirs),
        "shape": _only_one(ours, theirs),
        "same name": {row.key: row.key for row in ours if (row.key, kind(row)) in _places(theirs)},
    }
    for evidence, targets in votes.items():
        for key, target in targets.items():
            said[key][target].add(evidence)
    return said


def _places(some: Sequence[Row]) -> set[tuple[str, object]]:
    return {(row.key, kind(row)) for row in some}


def _only_one(old: Sequence[Row], new: Sequence[Row]) -> dict[str, str]:
    ours, theirs = Counter(map(kind, old)), Counter(map(kind, new))
    there = {kind(row): row.key for row in new}
    return {
        row.key: there[kind(row)]
        for row in old
        # A single number is a shape that anything may have.
        if ours[kind(row)] == theirs[kind(row)] == 1 and prod(row.shape) > 1
    }


def _agreed(said: Mapping[str, Mapping[str, set[str]]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, targets in said.items():
        if len(targets) != 1:
            continue
        [(target, evidence)] = targets.items()
        if len(evidence) > 1 and evidence & _BY_NAMES and evidence & _WITHOUT:
            found[key] = target
    wanted = Counter(target for targets in said.values() for target in targets)
    return {
        key: target
        for key, target in found.items()
        if wanted[target] == 1 and not _other_role(key, target)
    }


def _other_role(old: str, new: str) -> bool:
    """A weight never becomes a bias: torch's own names keep their meaning."""
    ends = {old.rpartition(".")[2], new.rpartition(".")[2]}
    return len(ends & _ROLES) == 2


def _result(
    old: Sequence[Row],
    new: Sequence[Row],
    decided: Mapping[str, str],
    said: Mapping[str, Mapping[str, set[str]]],
    moves: Moves,
) -> Match:
    taken = set(decided.values())
    free = [row for row in new if row.key not in taken]
    asked: dict[str, tuple[Candidate, ...]] = {}
    for row in old:
        if row.key in decided:
            continue
        candidates = _candidates(row, free, said[row.key], moves)
        if candidates:
            asked[row.key] = candidates
    mentioned = taken | {c.key for candidates in asked.values() for c in candidates}
    return Match(
        automatic={row.key: decided[row.key] for row in old if row.key in decided},
        asked=asked,
        dropped=tuple(r.key for r in old if r.key not in decided and r.key not in asked),
        added=tuple(row.key for row in new if row.key not in mentioned),
    )


def _candidates(
    row: Row, free: Sequence[Row], said: Mapping[str, set[str]], moves: Moves
) -> tuple[Candidate, ...]:
    fitting = [other for other in free if other.shape == row.shape] or [
        other for other in free if other.key == row.key
    ]

    def rank(other: Row) -> tuple[float, ...]:
        alike = nearness(row.key, other.key)
        return (
            row.dtype == other.dtype,
            len(said.get(other.key, ())),
            moves.share(row.key, other.key) + alike + 0.2 * (row.owner == other.owner),
        )

    fitting.sort(key=rank, reverse=True)
    return tuple(
        Candidate(other.key, _evidence(row, other, said.get(other.key, set())))
        for other in fitting[:_MOST_CANDIDATES]
    )


def _evidence(row: Row, other: Row, said: set[str]) -> tuple[str, ...]:
    against = {
        "other shape": row.shape != other.shape,
        "other dtype": row.dtype != other.dtype,
    }
    owner = ["owner"] if row.owner == other.owner else []
    return (*sorted(said), *owner, *(text for text, holds in against.items() if holds))
