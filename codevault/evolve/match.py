"""Which key of an old state_dict became which key of a new one; what is not certain is asked."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from codevault.evolve.candidates import Candidate, candidates
from codevault.evolve.names import by_name
from codevault.evolve.order import by_order
from codevault.evolve.roles import Players, Roles, players
from codevault.evolve.rows import Row, families, kind, rows, template
from codevault.evolve.structure import Moves, by_siblings, by_structure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Kinds of evidence that do not depend on each other. Siblings were decided by two of them.
_KINDS = {
    "same name": "names",
    "name": "names",
    "structure": "names",
    "order": "place",
    "shape": "place",
    "role": "role",
    "siblings": "siblings",
}
_ROLES = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


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
    roles: tuple[Roles, Roles] | None = None,
) -> Match:
    """Match the keys of two state_dicts by name, order, structure, shape and what they do.

    A key that kept name, shape and dtype is matched, unless its numbered siblings became more,
    fewer or renumbered: then an insertion may have shifted it, and of its module's numbered
    layers (`norm1`, `norm2`) nothing is matched but by role. Any other key is matched only if
    two of these agree, and nothing speaks against it: names (`same name`, `name`, `structure`),
    place (`order`, `shape`), `role`, and the rest of its module (`siblings`). Against a role
    neither names nor places count, and where both versions are one function of their parameters,
    it needs nothing else.

    Args:
        old: Entries (key, shape, dtype, owner class name) in the order of the state_dict.
        new: The same of the other version.
        tied: Groups of new keys that are one tensor; only the first of each, or the one that
            kept its name, takes part, and the others are not `added`. They take part where an old
            key is left over, which was a copy itself.
        roles: What `parameter_roles` tells of both versions, run on the same observations.

    Raises:
        ValueError: a key stands twice in `old` or in `new`, or an entry has not four parts.
    """
    ours, theirs = rows(old), rows(new)
    copies = _copies(tied, {row.key for row in ours})
    match = _matched(ours, [row for row in theirs if row.key not in copies], roles)
    # An old key that is left over was a copy itself.
    left = {kind(row) for row in ours if row.key in match.dropped}
    if any(row.key in copies and kind(row) in left for row in theirs):
        wanted = [row for row in theirs if row.key not in copies or kind(row) in left]
        match = _matched(ours, wanted, roles)
    return match


def _matched(
    ours: Sequence[Row], theirs: Sequence[Row], roles: tuple[Roles, Roles] | None
) -> Match:
    cast = players(roles, ours, theirs)
    decided = {k: t for k, t in _same_names(ours, theirs).items() if not cast.against(k, t)}
    moves = Moves(ours, theirs)
    doubted = _renumbered(ours, theirs)
    while True:
        said = _said(ours, theirs, decided, moves, cast)
        agreed = _agreed(said, doubted, sure={"role"} if cast.complete else set())
        if not agreed:
            break
        decided |= agreed
    return _result(ours, theirs, decided, said, moves, cast)


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


def _renumbered(old: Sequence[Row], new: Sequence[Row]) -> set[str]:
    """Old keys of numbered layers that became more or fewer: their numbers and order mislead."""
    ours, theirs = _layers(old), _layers(new)
    return {
        key
        for place, layers in ours.items()
        if place in theirs and layers.keys() != theirs[place].keys()
        for key in layers.values()
    }


def _layers(some: Sequence[Row]) -> dict[object, dict[str, str]]:
    """Rows by parent module, numbered name and parameter; in each, key by the layer's name."""
    found: dict[object, dict[str, str]] = defaultdict(dict)
    for row in some:
        *parents, layer, leaf = ("", *row.key.split("."))
        if layer != template(layer):
            found[tuple(parents), template(layer), leaf, kind(row)][layer] = row.key
    return found


def _numbered(some: Sequence[Row]) -> dict[object, set[str]]:
    return {
        (what, family.template): set(family.by_number.values())
        for what, found in families(some).items()
        for family in found
    }


def _said(
    old: Sequence[Row],
    new: Sequence[Row],
    decided: Mapping[str, str],
    moves: Moves,
    cast: Players,
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
        "role": cast.alone(),
    }
    for evidence, targets in votes.items():
        for key, target in targets.items():
            if key in said and target not in taken and not cast.against(key, target):
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


def _agreed(
    said: Mapping[str, Mapping[str, set[str]]], doubted: set[str], sure: set[str]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, targets in said.items():
        if len(targets) != 1:
            continue
        [(target, evidence)] = targets.items()
        kinds = {_KINDS[some] for some in evidence}
        if evidence & sure or (len(kinds) > 1 and (key not in doubted or "role" in kinds)):
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
    cast: Players,
) -> Match:
    taken = set(decided.values())
    free = [row for row in new if row.key not in taken]
    asked: dict[str, tuple[Candidate, ...]] = {}
    for row in old:
        if row.key in decided:
            continue
        if found := candidates(row, free, said[row.key], moves, cast):
            asked[row.key] = found
    mentioned = taken | {c.key for found in asked.values() for c in found}
    return Match(
        automatic={row.key: decided[row.key] for row in old if row.key in decided},
        asked=asked,
        dropped=tuple(r.key for r in old if r.key not in decided and r.key not in asked),
        added=tuple(row.key for row in new if row.key not in mentioned),
    )
