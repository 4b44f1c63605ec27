"""What is known of old keys, under the names that rules gave them already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from codevault.evolve.keys import rows_of
from codevault.evolve.roles import Roles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codevault.evolve.moves import Moved

    Rows = list[tuple[str, tuple[int, ...], str, str]]


def rows_after(file: Mapping[str, torch.Tensor], before: Any, there: Moved) -> Rows:
    """The rows of weights after rules, in the old policy's order and with its owners.

    Args:
        file: The old weights.
        before: The policy that the old code builds, or None.
        there: What rules made of the weights.
    """
    now = {old: key for key, old in _kept(file, there).items()}
    known = [(now[key], *rest) for key, *rest in rows_of(file, before) if key in now]
    taken = {row[0] for row in known}
    made = {key: value for key, value in there.state.items() if key not in taken}
    return [*known, *rows_of(made, None)]  # type: ignore[list-item]


def roles_after(
    pair: tuple[Roles, Roles] | None, file: Mapping[str, torch.Tensor], there: Moved
) -> tuple[Roles, Roles] | None:
    """The roles of both versions, those of the old one under the names after rules.

    Of what a rule made, nothing is known: it is used as the newer key of its name is.
    """
    if pair is None:
        return None
    old, new = pair
    kept = _kept(file, there)
    gradients = {key: old.gradients[was] for key, was in kept.items() if was in old.gradients}
    unused = {key for key, was in kept.items() if was in old.unused}
    unused |= {key for key in there.state if key not in kept and key in new.unused}
    return Roles(gradients, frozenset(unused), old.precision), new


def touched(
    untouched: Sequence[str] | None, before: Any, ran: tuple[Roles, Roles] | None, there: Moved
) -> frozenset[str]:
    """Keys that a run of the old policy touched: outputs that are equal without one do not need it.

    Args:
        untouched: Parameters that the recorded run did not touch; None where that is not known.
        before: The policy that the old code builds, or None: of its buffers only `ran` tells.
        ran: The roles of both versions, or None.
        there: What rules made of the weights.
    """
    if untouched is None or not isinstance(before, torch.nn.Module):
        return frozenset()
    buffers = {key for key, _ in before.named_buffers()}
    unseen = {*untouched, *(buffers if ran is None else buffers & ran[0].unused)}
    return frozenset(key for key, old in there.origin.items() if not unseen & set(old))


def _kept(file: Mapping[str, torch.Tensor], there: Moved) -> dict[str, str]:
    """Key after rules to old key, for tensors that rules only renamed."""
    sole = {key: old[0] for key, old in there.origin.items() if len(old) == 1}
    return {key: old for key, old in sole.items() if there.state[key] is file[old]}
