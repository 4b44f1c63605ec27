"""Causes in the keys of the weights: which became which, and which have no counterpart."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from codevault.evolve.diagnosis import Cause
from codevault.evolve.gradients import probed_roles
from codevault.evolve.match import Match, match_state_dicts
from codevault.evolve.places import Found, Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from codevault.evolve.sides import Side
    from codevault.probe import Probe


@dataclass(frozen=True, slots=True)
class Keys:
    """What was found of the keys.

    Attributes:
        found: The causes; keys that changed alike are one.
        match: Which key became which.
        same: Whether a strict load finds all keys that it needs, and no others.
        renames: Old key to new key, for keys that the match is certain of.
    """

    found: tuple[Found, ...]
    match: Match
    same: bool
    renames: Mapping[str, str]


def keys(
    weights: Mapping[str, torch.Tensor],
    before: Any,
    after: Any,
    probe: Probe | None,
    old: Side,
    new: Side,
) -> Keys:
    """Compares the keys of a file with those of the policy that the new code builds.

    Args:
        weights: The file's tensors.
        before: The policy that the old code builds, or None.
        after: The policy that the new code builds.
        probe: On whose observations both are run, to see what each parameter does.
        old: The old side.
        new: The new side.
    """
    state = after.state_dict(keep_vars=True)
    rows = rows_of(weights, before), rows_of(state, after)
    roles = probed_roles(before, after, probe)
    match = match_state_dicts(*rows, tied=tied(state), roles=roles)
    renames = {one: other for one, other in match.automatic.items() if one != other}
    certain = _by_stem((one, (other,)) for one, other in renames.items())
    # A key that both have under one shape's change is no question of names.
    asked = _by_stem(
        (one, tuple(c.key for c in candidates[:2]))
        for one, candidates in match.asked.items()
        if not (one in state and state[one].shape != weights[one].shape)
    )
    found = []
    for (stem, to), there in certain.items():
        now: list[Any] = [renames[key] for key in there]
        text = f"{stem} -> {to[0]}"
        found.append(_cause("renamed", stem, text, (there, now), place_of(before, there[0], old)))
    for (stem, to), there in asked.items():
        now = [[candidate.key for candidate in match.asked[key]] for key in there]
        text = f"{stem} -> {' or '.join(to)}?"
        found.append(_cause("asked", stem, text, (there, now), place_of(before, there[0], old)))
    for stem, there in _modules(key for key in match.dropped if key not in state).items():
        text = f"{stem} has no place in the new code"
        found.append(_cause("dropped", stem, text, (there, None), place_of(before, there[0], old)))
    for stem, there in _modules(key for key in match.added if key not in weights).items():
        text = f"{stem} is not in the file"
        found.append(_cause("added", stem, text, (None, there), place_of(after, there[0], new)))
    return Keys(tuple(found), match, set(state) == set(weights), renames)


def rows_of(
    state: Mapping[str, torch.Tensor], policy: Any
) -> list[tuple[str, tuple[int, ...], str, str]]:
    """Rows of (key, shape, dtype, owner class name), in the policy's order where that is known."""
    modules = dict(policy.named_modules()) if isinstance(policy, torch.nn.Module) else {}
    order = list(policy.state_dict()) if policy is not None else []
    places = {key: place for place, key in enumerate(order)}
    listed = sorted(state, key=lambda key: places.get(key, len(places)))
    return [
        (
            key,
            tuple(state[key].shape),
            str(state[key].dtype),
            type(modules[key.rpartition(".")[0]]).__name__
            if key.rpartition(".")[0] in modules
            else "",
        )
        for key in listed
        if isinstance(state[key], torch.Tensor)
    ]


def tied(state: Mapping[str, Any]) -> list[list[str]]:
    """Groups of keys that are one tensor: the same memory, seen alike."""
    groups: dict[object, list[str]] = defaultdict(list)
    for key, value in state.items():
        groups[_memory(value)].append(key)
    return [group for group in groups.values() if len(group) > 1]


def _memory(value: Any) -> object:
    if isinstance(value, torch.Tensor) and not value.is_meta:
        with contextlib.suppress(RuntimeError, ValueError):  # a sparse or a lazy one has no memory
            if value.numel():
                return value.data_ptr(), value.shape, value.stride()
    return id(value)


def place_of(policy: Any, key: str, side: Side) -> Place | None:
    """The own class that holds a key, and the attribute of it that leads there; and its holders."""
    if not isinstance(policy, torch.nn.Module):
        return None
    found: Place | None = None
    parts = key.split(".")
    module: Any = policy
    for part in parts:
        if side.is_own(type(module).__module__):
            found = Place((type(module),), (part,), outer=found)
        module = getattr(module, part, None)
    return found


def _cause(
    kind: str, stem: str, text: str, keys: tuple[list[str] | None, Any], place: Place | None
) -> Found:
    count = len(keys[0] or keys[1])
    text = f"{text}  ({count} key{'s' * (count > 1)})"
    return Found(Cause("keys", kind, stem, text, *keys), place)


def _by_stem(
    pairs: Iterable[tuple[str, tuple[str, ...]]],
) -> dict[tuple[str, tuple[str, ...]], list[str]]:
    """Keys that changed alike: the parts that differ, without the ending that all have."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for key, others in pairs:
        parts = [name.split(".") for name in (key, *others)]
        shared = 0
        while all(len(p) > shared + 1 for p in parts) and len({p[-1 - shared] for p in parts}) == 1:
            shared += 1
        stems = [".".join(p[: len(p) - shared]) + ".*" * bool(shared) for p in parts]
        found[stems[0], tuple(stems[1:])].append(key)
    return found


def _modules(some: Iterable[str]) -> dict[str, list[str]]:
    """Keys by the module that holds them; a single one by its own name."""
    found: dict[str, list[str]] = defaultdict(list)
    for key in some:
        found[key.rpartition(".")[0]].append(key)
    return {f"{m}.*" if m and len(ks) > 1 else ks[0]: ks for m, ks in found.items()}
