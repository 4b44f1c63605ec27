"""Finds the policy inside the wrappers that training puts around it."""

from __future__ import annotations

from typing import Any

from codevault.errors import CaptureError


def unwrap(policy: Any) -> Any:
    """The policy itself: inside DDP, DataParallel and `torch.compile`.

    Raises:
        CaptureError: It is sharded (FSDP), or has no state_dict.
    """
    import torch

    while True:
        if any(_is_sharded(module) for module in _modules(policy)):
            raise CaptureError(
                "the policy is sharded over processes (FSDP)",
                "each process holds only a part of the weights",
                "gather the full state_dict into a plain copy of the policy, and save that",
            )
        if isinstance(policy, torch.nn.parallel.DistributedDataParallel | torch.nn.DataParallel):
            policy = policy.module
        elif hasattr(policy, "_orig_mod"):  # torch.compile's OptimizedModule
            policy = policy._orig_mod  # noqa: SLF001
        else:
            break
    if not callable(getattr(policy, "state_dict", None)):
        raise CaptureError(
            f"a {type(policy).__qualname__} has no state_dict",
            "its weights cannot be written down",
            "hand over the torch.nn.Module inside it",
        )
    return policy


def _modules(policy: Any) -> list[Any]:
    return list(policy.modules()) if callable(getattr(policy, "modules", None)) else []


def _is_sharded(module: Any) -> bool:
    names = {cls.__name__ for cls in type(module).__mro__}
    return bool(names & {"FullyShardedDataParallel", "FSDPModule"})
