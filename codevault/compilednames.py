"""Names of weights where a part of the policy is compiled, on one side only.

`torch.compile` of a submodule writes `_orig_mod` into the names of all below it. Whether a part is
compiled is the trainer's business, and no difference of the weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

_MARK: Final = "_orig_mod"


def named_as(
    policy: torch.nn.Module, tensors: Mapping[str, torch.Tensor]
) -> Mapping[str, torch.Tensor]:
    """The tensors under the policy's names, if these differ by compiled parts alone; else as given.

    Args:
        policy: Takes the tensors.
        tensors: By the names that they were saved with.
    """
    parts = (name for name, _ in policy.named_modules(remove_duplicate=False))
    if not any(_MARK in name for name in (*tensors, *parts)):
        return tensors
    state = policy.state_dict()
    keys = {_plain(key): key for key in state}
    renamed = {keys.get(_plain(name), name): tensor for name, tensor in tensors.items()}
    fits = len(renamed) == len(tensors) and renamed.keys() == state.keys()
    return renamed if fits else tensors


def _plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != _MARK)
