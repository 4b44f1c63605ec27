"""What a rule does with one tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault.evolve.rules import Rule

_SEED: Final = 0


def pieces(rule: Rule, tensor: torch.Tensor) -> Sequence[torch.Tensor]:
    """What a rule makes of one tensor: one for each of its new keys.

    Raises:
        RuntimeError: The tensor has not the shape for it.
        IndexError: It has no such dimension.
    """
    told = rule.told
    match rule.verb:
        case "reshape":
            return [tensor.reshape(told["shape"])]
        case "transpose":
            return [tensor.transpose(*told["dims"]).contiguous()]
        case "squeeze":
            if tensor.shape[told["dim"]] != 1:
                raise RuntimeError(f"dim {told['dim']} is not 1")
            return [tensor.squeeze(told["dim"])]
        case "unsqueeze":
            return [tensor.unsqueeze(told["dim"])]
        case "split":
            size, number = tensor.shape[told["dim"]], len(rule.new)
            sizes = told.get("sizes") or [size // number] * number
            if len(sizes) != number:
                raise RuntimeError(f"{len(sizes)} sizes for {number} keys")
            return [part.clone() for part in torch.split(tensor, sizes, told["dim"])]
        case _:  # rename and copy
            return [tensor] * len(rule.new)


def initial(rule: Rule, built: torch.Tensor | None) -> torch.Tensor:
    """The tensor of a `fill`.

    Args:
        rule: The rule.
        built: What the newer code's constructor left there; None where it makes no such key.

    Raises:
        RuntimeError: It is wanted as the constructor makes it, and the constructor makes none, or
            nobody says its shape.
    """
    told, how = rule.told, rule.told["with"]
    if how == "constructor":
        if built is None:
            raise RuntimeError("the newer code's constructor does not make it")
        return built.clone()
    shape = told["shape"] if built is None else told.get("shape", built.shape)
    dtype = torch.float32 if built is None else built.dtype
    if how == "normal":
        random = torch.Generator().manual_seed(told.get("seed", _SEED))
        drawn = torch.randn(shape, generator=random, dtype=torch.float32)
        drawn *= told.get("std", 1.0)
        return drawn.to(dtype)
    value: float = {"zeros": 0, "ones": 1}[how] if isinstance(how, str) else how
    return torch.full(tuple(shape), value, dtype=dtype)
