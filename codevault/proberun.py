# ruff: noqa: SLF001
# Which buffers no state_dict holds has no public name.
"""One trial of a policy on recorded inputs: what it gave, wrote and remembered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from codevault.nearties import shake, shaken
from codevault.probecopy import owners, slots_of, understudy_of
from codevault.recurrentstate import filled
from codevault.rng import own_state, set_own_state
from codevault.tensortree import Nest, equal, is_tensordict, others, pack, same, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

EMPTY: Final = pack({}, "state")
"""The state of a policy without any."""
_GENERATOR: Final = "<generator>"
"""What a key ends in whose value is the state of the generator of that name."""
_INTERNAL: Final = frozenset(vars(torch.nn.Module()))


@dataclass(frozen=True, slots=True)
class Trial:
    """What a run gave.

    Attributes:
        outputs: What the policy returned at each step; of an argument that it returned, only what
            it wrote.
        drawn: True if it drew random numbers from a global generator.
        state: Attributes that the run changed and that no state_dict holds, as they were before.
        unset: State that was to be set and could not be.
    """

    outputs: tuple[Nest, ...]
    drawn: bool
    state: Nest
    unset: tuple[str, ...]


def run(
    policy: Any,
    steps: Sequence[Nest],
    seed: int,
    recorded_on: str,
    device: torch.device,
    state: Nest,
    recorded: Sequence[Nest] = (),
    noise: Mapping[str, float] | None = None,
) -> Trial:
    """Runs the policy, or what stands in for it, on one observation after another.

    Args:
        policy: A module or any other callable.
        steps: The observations of each step; a tuple is the positional arguments.
        seed: Seed of all random numbers.
        recorded_on: Type of the device that the policy was on when the inputs were recorded.
        device: The policy's device now.
        state: Attributes to set before the run.
        recorded: Outputs to compare with; an argument's entries that they have are outputs again.
        noise: By how much, by dtype, to change numbers first: those of the observations, and the
            parameters of a copy. None changes nothing.
    """
    if noise:
        steps = [shaken(nest, noise, place) for place, nest in enumerate(steps)]
    devices = {recorded_on: device}
    outputs: list[Nest] = []
    with understudy_of(policy, seed) as stage:
        unset = _restore(stage.policy, unpack(state, devices))
        if noise and stage.isolated:
            shake(policy, stage.policy, noise)
        before = _remembered(stage.policy)
        for step, (given, result) in enumerate(played(stage.policy, steps, devices)):
            nodes = arguments_of(steps[step])
            known = {id(value): node for value, node in zip(given, nodes, strict=True)}
            gave = pack(result, "out" if len(steps) == 1 else f"out.{step}")
            old = recorded[step] if recorded else None
            outputs.append(_written(result, gave, known, steps[step], old))
        drawn = stage.drawn()
        after = _remembered(stage.policy)
    changed = {
        name: nest
        for name, nest in before.items()
        if name not in after or not equal(nest, after[name])
    }
    return Trial(tuple(outputs), drawn, _joined(changed), tuple(unset))


def played(
    policy: Any, steps: Sequence[Nest], devices: Mapping[str, torch.device]
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Calls the policy step by step; yields each step's own arguments, and what it returned.

    Raises:
        ValueError: A step leaves out an argument that nothing stands for.
    """
    first = arguments_of(steps[0])
    result: Any = None
    for step, inputs in enumerate(steps):
        value = unpack(inputs, devices)
        given = value if inputs.structure["kind"] == "tuple" else (value,)
        result = policy(*filled(given, first, result, step))
        yield given, result


def arguments_of(inputs: Nest) -> Sequence[Mapping[str, Any]]:
    """The nodes of a step's positional arguments."""
    root = inputs.structure
    nodes: Sequence[Mapping[str, Any]] = root["items"] if root["kind"] == "tuple" else [root]
    return nodes


def _remembered(policy: Any) -> dict[str, Nest]:
    """The policy's attributes that no state_dict holds, by path: plain data and generators."""
    found = {}
    for path, owner in owners(policy):
        values = {name: value for name, value in vars(owner).items() if name not in _INTERNAL}
        values |= slots_of(owner)
        if isinstance(owner, torch.nn.Module):
            transient = owner._non_persistent_buffers_set
            values |= {n: b for n, b in owner._buffers.items() if n in transient}
        for name, value in values.items():
            key = f"{path}.{name}" if path else name
            if (own := own_state(value)) is not None:
                key, value = f"{key}.{_GENERATOR}", own
            if _is_data(value, 0):
                nest = pack(value, f"state.{key}")
                if not others(nest.structure):
                    found[key] = nest
    return found


def _is_data(value: Any, depth: int) -> bool:
    if (
        value is None
        or type(value) in (bool, int, float, str, torch.Tensor)
        or is_tensordict(value)
    ):
        return True
    if depth > 4 or type(value) not in (tuple, list, dict):
        return False
    items = value.values() if type(value) is dict else value
    return all(_is_data(item, depth + 1) for item in items)


def _restore(policy: Any, state: Mapping[str, Any]) -> list[str]:
    """Sets attributes by path; returns those for which the policy has no place."""
    places = dict(owners(policy))
    unset = []
    for key, value in state.items():
        path, _, name = key.rpartition(".")
        try:
            if name == _GENERATOR:
                path, _, name = path.rpartition(".")
                set_own_state(getattr(places[path], name), value)
            else:
                setattr(places[path], name, value)
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError):
            unset.append(f"state.{key} (the policy has no place for it)")
    return unset


def _joined(nests: Mapping[str, Nest]) -> Nest:
    keys = sorted(nests)
    items = [nests[key].structure for key in keys]
    tensors = {path: t for key in keys for path, t in nests[key].tensors.items()}
    return Nest({"kind": "dict", "path": "state", "keys": keys, "items": items}, tensors)


def _written(
    result: Any,
    outputs: Nest,
    known: Mapping[int, Mapping[str, Any]],
    inputs: Nest,
    recorded: Nest | None,
) -> Nest:
    """Leaves out of returned arguments what the policy only passed through."""
    root: Any = outputs.structure
    old = recorded.structure if recorded else None
    parts = [(result, root, old)]
    if isinstance(result, tuple):
        olds = old.get("items", []) if old else []
        padded = [*olds, *[None] * len(result)]
        parts += list(zip(result, root["items"], padded, strict=False))
    passed: set[str] = set()
    for value, node, before in parts:
        given = known.get(id(value))
        if given is None or node["kind"] not in ("dict", "tensordict"):
            continue
        kept = set(before.get("keys", ())) if before else set()
        entries = dict(zip(given["keys"], given["items"], strict=True))
        pairs = list(zip(node["keys"], node["items"], strict=True))
        stays = [
            (key, item)
            for key, item in pairs
            if key in kept
            or key not in entries
            or not _unchanged(entries[key], item, inputs.tensors, outputs.tensors)
        ]
        gone = {id(item) for _, item in pairs} - {id(item) for _, item in stays}
        passed |= {path for _, item in pairs if id(item) in gone for path in _paths(item)}
        node["keys"], node["items"] = [k for k, _ in stays], [item for _, item in stays]
    return Nest(root, {p: t for p, t in outputs.tensors.items() if p not in passed})


def _unchanged(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    before: Mapping[str, torch.Tensor],
    after: Mapping[str, torch.Tensor],
) -> bool:
    places = {"path", "items", "device"}
    if {k: v for k, v in old.items() if k not in places} != {
        k: v for k, v in new.items() if k not in places
    }:
        return False
    if old["kind"] in ("tensor", "array"):
        return same(before[old["path"]], after[new["path"]])
    pairs = zip(old.get("items", ()), new.get("items", ()), strict=False)
    if len(old.get("items", ())) != len(new.get("items", ())):
        return False
    return all(_unchanged(a, b, before, after) for a, b in pairs)


def _paths(node: Mapping[str, Any]) -> Iterator[str]:
    yield node["path"]
    for item in node.get("items", ()):
        yield from _paths(item)
