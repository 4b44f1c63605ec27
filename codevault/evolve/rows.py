"""Rows of a state_dict, and families of rows whose keys differ in their numbers alone."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[#.]|\d+")


class Row(NamedTuple):
    """One entry of a state_dict: `shape` as torch gives it, `dtype` without `torch.`."""

    key: str
    shape: tuple[int, ...]
    dtype: str
    owner: str


def rows(entries: Iterable[Sequence[object]]) -> list[Row]:
    """Entries of (key, shape, dtype, owner class name) as rows, in their order.

    Raises:
        ValueError: a key stands there twice, or an entry has not these four parts.
    """
    listed = list(entries)
    if any(isinstance(entry, str) or len(entry) != 4 for entry in listed):
        raise ValueError(
            "a state_dict is given as rows of (key, shape, dtype, owner class name), in its order"
        )
    found = [
        Row(str(key), tuple(shape), str(dtype).removeprefix("torch."), str(owner))  # type: ignore[arg-type]
        for key, shape, dtype, owner in listed
    ]
    seen: set[str] = set()
    for row in found:
        if row.key in seen:
            raise ValueError(f"the key {row.key!r} stands twice in one state_dict; give each once")
        seen.add(row.key)
    return found


def kind(row: Row) -> tuple[tuple[int, ...], str]:
    """What must be equal for one tensor to take the other's place."""
    return row.shape, row.dtype


def template(key: str) -> str:
    """The key with `#` for each number."""
    return _NUMBER.sub("#", key)


def words(key: str) -> list[str]:
    """The words of a key or template, in order; dots do not count."""
    return [word.lower() for word in _WORD.findall(key) if word != "."]


class Family:
    """Rows of one template, shape and dtype."""

    def __init__(self, name: str, keys: Sequence[str]) -> None:
        self.template = name
        self.by_number = dict(zip(_ranks(keys), keys, strict=True))
        """Key by the ranks of its numbers; numbers that all keys share are left out.

        Ranks, because releases renumber: `q1, q2` became `qf0, qf1`.
        """


def _ranks(keys: Sequence[str]) -> list[tuple[int, ...]]:
    numbers = [tuple(map(int, _NUMBER.findall(key))) for key in keys]
    columns = [list(column) for column in zip(*numbers, strict=True)]
    ranked = []
    for column in columns:
        order = {value: rank for rank, value in enumerate(sorted(set(column)))}
        if len(order) > 1:
            ranked.append([order[value] for value in column])
    return list(zip(*ranked, strict=True)) if ranked else [() for _ in keys]


def families(some: Iterable[Row]) -> dict[tuple[tuple[int, ...], str], list[Family]]:
    """The families of these rows, by shape and dtype."""
    members: dict[tuple[tuple[tuple[int, ...], str], str], list[str]] = defaultdict(list)
    for row in some:
        members[kind(row), template(row.key)].append(row.key)
    found: dict[tuple[tuple[int, ...], str], list[Family]] = defaultdict(list)
    for (what, name), keys in members.items():
        found[what].append(Family(name, keys))
    return dict(found)
