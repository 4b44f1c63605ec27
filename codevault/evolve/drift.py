"""Causes in what the built policies hold: values that no argument names and no weights file has."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import torch

from codevault.evolve.diagnosis import Cause
from codevault.evolve.keys import place_of
from codevault.evolve.places import Found, Place
from codevault.evolve.values import held

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from codevault.evolve.sides import Side

_ABSENT = object()


def drift(
    policies: tuple[Any, Any],
    old: Side,
    new: Side,
    renames: Mapping[str, str],
    known: Iterable[Cause],
) -> tuple[Found, ...]:
    """Values that both policies hold at the same place, and that differ.

    What only one of them holds is no drift. Neither is what follows from another cause: the sizes
    that a module of another shape remembers, and a value that has the name of a reported argument.

    Args:
        policies: What the old and the new code built.
        old: The old side.
        new: The new side.
        renames: Old key to new key.
        known: The causes that were found before.
    """
    before, after = policies
    ours, theirs = held(before, old.is_own), held(after, new.is_own)
    resized = _resized(policies, renames)
    explained = {_last(cause.name) for cause in known if cause.family == "config"}
    there = _translated(renames)
    differ: dict[str, list[tuple[str, Any, Any]]] = defaultdict(list)
    for path, one in ours.items():
        other = theirs.get(there(path), _ABSENT)
        if other is _ABSENT or (one == other and type(one) is type(other)):
            continue
        if _last(path) in explained or any(path.startswith(f"{m}.") for m in resized):
            continue
        if _is_own_class(before, path, old):
            continue  # another class of the code's own, whose parts are compared themselves
        differ[path.partition("[")[0]].append((path, one, other))
    return tuple(
        _found(group, rows, place_of(before, group, old) or Place(()))
        for group, rows in differ.items()
    )


def _found(group: str, rows: list[tuple[str, Any, Any]], place: Place) -> Found:
    """One cause for a value, and for all values of one list."""
    path, one, other = rows[0]
    text = (
        f"{path or 'the policy'} is {_short(other)} in the policy as built, and was {_short(one)}"
    )
    if len(rows) == 1:
        return Found(Cause("config", "value", path, text, one, other), place.showing(other))
    text = f"{text}; {len(rows) - 1} more in {group}"
    olds, news = ({row[0]: row[side] for row in rows} for side in (1, 2))
    signs = [now for _, _, now in rows if isinstance(now, str | float) and now]
    return Found(Cause("config", "value", group, text, olds, news), place.showing(*signs))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}…, {len(value)} long"


def _last(path: str) -> str:
    return path.rpartition(".")[2].partition("[")[0]


def _is_own_class(policy: Any, path: str, side: Side) -> bool:
    modules = dict(policy.named_modules()) if isinstance(policy, torch.nn.Module) else {}
    return path in modules and side.is_own(type(modules[path]).__module__)


def _resized(policies: tuple[Any, Any], renames: Mapping[str, str]) -> set[str]:
    """Paths of modules with a parameter of another shape."""
    before, after = (
        {k: getattr(v, "shape", ()) for k, v in p.state_dict().items()} for p in policies
    )
    return {
        key.rpartition(".")[0]
        for key, shape in before.items()
        if after.get(renames.get(key, key), shape) != shape
    }


def _translated(renames: Mapping[str, str]) -> Any:
    """Gives the new path of an old one, by the renamed keys that stand below the same module."""
    modules: dict[str, str] = {}
    for one, other in renames.items():
        ours, theirs = one.split(".")[:-1], other.split(".")[:-1]
        while ours and theirs and ".".join(ours) not in modules:
            modules[".".join(ours)] = ".".join(theirs)
            if ours[-1] != theirs[-1]:
                break
            ours, theirs = ours[:-1], theirs[:-1]

    def there(path: str) -> str:
        parts = path.split(".")
        for end in range(len(parts), 0, -1):
            moved = modules.get(".".join(parts[:end]))
            if moved is not None:
                return ".".join((moved, *parts[end:]))
        return path

    return there
