"""Causes in the shapes of weights, and who changed them: the code, or the environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codevault.evolve.diagnosis import Cause
from codevault.evolve.keys import place_of
from codevault.evolve.places import Found

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import torch

    from codevault.evolve.sides import Side
    from codevault.probe import Probe
    from codevault.tensortree import Nest

_OUT, _IN = "outputs", "observations"
_SIDES = ("output side", (_OUT,)), ("input side", (_IN,))
"""What the dimensions of a layer's matrix are."""


@dataclass(frozen=True, slots=True)
class Policies:
    """What was built, each None where it could not be.

    Attributes:
        before: By the old code, with the recorded environment.
        recorded: By the new code, with the recorded environment.
        given: By the new code, with the environment that the caller gave; the same as `recorded`
            where none was given.
    """

    before: Any
    recorded: Any
    given: Any


def shapes(
    weights: Mapping[str, torch.Tensor],
    policies: Policies,
    probe: Probe | None,
    renames: Mapping[str, str],
    new: Side,
    known: Iterable[Cause],
) -> tuple[Found, ...]:
    """Keys whose tensors have another shape in the file than in the new code's policy.

    Who changed a shape is told by building: the old code, and the new one with either environment.

    Args:
        weights: The file's tensors.
        policies: What was built.
        probe: The recorded observations and outputs, whose sizes tell which side changed.
        renames: Old key to new key.
        new: The new side.
        known: Causes in the config: a size that changed like one of them is said to.
    """
    old_shapes = _shapes(policies.before)
    recorded, given = _shapes(policies.recorded), _shapes(policies.given)
    sizes = _sizes(probe)
    found = []
    for key, tensor in weights.items():
        there, shape = renames.get(key, key), tuple(tensor.shape)
        now = given.get(there)
        if now is None or now == shape:
            continue
        if old_shapes.get(key, shape) != shape:
            kind, why = "outside", "the old code itself builds another one today: what it shares"
            why += " with the application, its environment or its packages changed it"
        elif policies.given is not policies.recorded and recorded.get(there) == shape:
            kind, why = "environment", "environment, not code: the recorded one still gives it"
        elif policies.before is None:
            kind, why = "unknown", "code or environment: no old code was built that could tell"
        else:
            kind, why = "code", "code, not environment: the old code builds the file's today"
            why += _like(shape, now, known)
        text = f"{key} {list(shape)} in file, {list(now)} in code{_which(shape, now, sizes)}: {why}"
        cause = Cause("shapes", kind, key, text, list(shape), list(now))
        place = place_of(policies.given, there, new) if kind == "code" else None
        sizes_now = [size for size in now if size not in shape]
        found.append(Found(cause, place.showing(*sizes_now) if place else None))
    return tuple(found)


def _like(old: tuple[int, ...], new: tuple[int, ...], known: Iterable[Cause]) -> str:
    """The cause in the config that changed by the same numbers as a size."""
    changed = {pair for pair in zip(old, new, strict=False) if pair[0] != pair[1]}
    for cause in known:
        pair = cause.old, cause.new
        if isinstance(cause.old, list) and isinstance(cause.new, list):
            pair = len(cause.old), len(cause.new)
        if all(type(n) is int for n in pair) and pair in changed:
            return f", like {cause.name}"
    return ""


def _shapes(policy: Any) -> dict[str, tuple[int, ...]]:
    if policy is None:
        return {}
    return {k: tuple(v.shape) for k, v in policy.state_dict().items() if hasattr(v, "shape")}


def _which(old: tuple[int, ...], new: tuple[int, ...], sizes: Mapping[str, set[int]]) -> str:
    """Which side of a matrix changed, and whether the probe knows that size."""
    if len(old) != len(new):
        return ", another number of dimensions"
    parts = []
    for place, (one, other) in enumerate(zip(old, new, strict=True)):
        if one == other:
            continue
        name, kinds = _SIDES[place] if len(old) > 1 and place < 2 else ("", (_OUT, _IN))
        known = [kind for kind in kinds if one in sizes.get(kind, ())]
        if name or known:
            like = f", like the recorded {known[0]}" if known else ""
            parts.append(f"{name or 'size'} was {one}{like}")
    return f" ({'; '.join(parts)})" if parts else ""


def _sizes(probe: Probe | None) -> dict[str, set[int]]:
    """The last sizes of the recorded observations and outputs."""
    if probe is None:
        return {}

    def last(nests: tuple[Nest, ...]) -> set[int]:
        tensors = [tensor for nest in nests for tensor in nest.tensors.values()]
        return {tensor.shape[-1] for tensor in tensors if tensor.dim()}

    return {_IN: last(probe.inputs), _OUT: last(probe.outputs)}
