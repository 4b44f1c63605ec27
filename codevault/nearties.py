# ruff: noqa: SLF001
# A module's tensors without those of its children have no public name.
"""Noise as small as rounding: it tells a choice between near ties from a changed policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from codevault.probecopy import owners
from codevault.tensortree import Nest

if TYPE_CHECKING:
    from collections.abc import Mapping


def shaken(nest: Nest, noise: Mapping[str, float], seed: int) -> Nest:
    """A nest whose numbers differ a little.

    Args:
        nest: Observations.
        noise: The deviation, by dtype, as a part of each number.
        seed: Of the random numbers; no global generator is used.
    """
    generator = torch.Generator().manual_seed(seed)
    return Nest(nest.structure, {p: _near(t, noise, generator) for p, t in nest.tensors.items()})


def shake(policy: Any, double: Any, noise: Mapping[str, float]) -> None:
    """Changes the parameters of a copy of a policy a little, as far as they are its own."""
    generator = torch.Generator().manual_seed(0)
    shared = {id(p) for _, owner in owners(policy) for p in _parameters(owner)}
    for _, owner in owners(double):
        for parameter in _parameters(owner):
            if id(parameter) not in shared:
                parameter.data.copy_(_near(parameter.detach().cpu(), noise, generator))


def _parameters(owner: Any) -> list[torch.nn.Parameter]:
    found = owner._parameters.values() if isinstance(owner, torch.nn.Module) else ()
    return [parameter for parameter in found if parameter is not None]


def _near(
    tensor: torch.Tensor, noise: Mapping[str, float], generator: torch.Generator
) -> torch.Tensor:
    size = noise.get(str(tensor.dtype).removeprefix("torch."), 0.0)
    if not size or not tensor.is_floating_point():
        return tensor
    draws = torch.randn(tensor.shape, generator=generator, dtype=torch.float32)
    return (tensor * (1 + size * draws)).to(tensor.dtype)
