"""Whether weights are all that a policy of newer code takes, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from codevault.errors import StateDictError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from codevault.evolve.moves import Moved


def fitted(moved: Moved, target: Mapping[str, torch.Tensor], where: str, hint: str) -> Moved:
    """The weights in the newer code's own order, if they are all that it takes, and nothing else.

    A key that the newer code ties to another one needs no rule.

    Args:
        moved: The weights.
        target: The state_dict of the newer code's policy.
        where: The checkpoint, for messages.
        hint: The one thing to do where they do not fit.

    Raises:
        StateDictError: Keys or shapes do not fit; names each.
    """
    state, origin = dict(moved.state), dict(moved.origin)
    for key, twin in _twins(target, state):
        state[key], origin[key] = state[twin], origin[twin]
    unmapped = [
        f"{key} (was {', '.join(moved.origin[key])})" if moved.origin[key] != (key,) else key
        for key in state
        if key not in target
    ]
    missing = [key for key in target if key not in state]
    shapes = [
        f"{key} {list(state[key].shape)} against {list(value.shape)}"
        for key, value in target.items()
        if key in state and state[key].shape != value.shape
    ]
    kinds = [
        f"{key} {state[key].dtype} against {value.dtype}"
        for key, value in target.items()
        if key in state and state[key].is_floating_point() != value.is_floating_point()
    ]
    said = {
        "old keys without a place": unmapped,
        "new keys without a value": missing,
        "other shapes": shapes,
        "other kinds of numbers": kinds,
    }
    faults = [f"{len(keys)} {what}: {', '.join(keys)}" for what, keys in said.items() if keys]
    if faults:
        raise StateDictError(
            f"the weights of {where} do not fit the newer code", "; ".join(faults), hint
        )
    return replace(
        moved,
        state={key: state[key] for key in target},
        origin={key: origin[key] for key in target},
    )


def _twins(
    target: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]
) -> Iterator[tuple[str, str]]:
    """Keys without a value that the newer code ties to one that has a value."""
    there: dict[object, str] = {}
    for key, tensor in target.items():
        if key in state and tensor.numel():
            there.setdefault((tensor.data_ptr(), tensor.shape, tensor.stride()), key)
    for key, tensor in target.items():
        twin = there.get((tensor.data_ptr(), tensor.shape, tensor.stride()))
        if key not in state and twin is not None:
            yield key, twin
