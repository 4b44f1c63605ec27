# ruff: noqa: SLF001
# A module's tensors without those of its children have no public name.
"""Which parameters a probe covers: those that some operation of its forward passes is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from codevault.probecopy import owners, understudy_of
from codevault.proberun import played

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault.tensortree import Nest


def untouched(
    policy: Any, steps: Sequence[Nest], seed: int, device: torch.device
) -> tuple[str, ...] | None:
    """Names of parameters that no operation touches, so that no replay can notice a change of them.

    A parameter that is touched may still hardly matter: this is a lower bound of what is not seen.

    Args:
        policy: A module or any other callable.
        steps: The observations of each step.
        seed: Seed of all random numbers.
        device: The policy's device.

    Returns:
        The names as in the state_dict; None where operations cannot be watched.
    """
    try:
        with understudy_of(policy, seed) as stage:
            names = _parameters(stage.policy)
            watch = _Watch(parameter for parameter, _ in names)
            with watch:
                for _ in played(stage.policy, steps, {device.type: device}):
                    pass
    except Exception:
        # Not the policy's fault: it ran before. Some tensor subclasses refuse to be watched.
        return None
    return tuple(name for parameter, name in names if id(parameter) not in watch.touched)


def _parameters(policy: Any) -> list[tuple[torch.Tensor, str]]:
    found: dict[int, tuple[torch.Tensor, str]] = {}
    for path, owner in owners(policy):
        if isinstance(owner, torch.nn.Module):
            for name, parameter in owner._parameters.items():
                if parameter is not None and parameter.numel():
                    found.setdefault(id(parameter), (parameter, f"{path}.{name}".lstrip(".")))
    return list(found.values())


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the parameters that operations are given, views of them included."""

    def __init__(self, parameters: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.touched: set[int] = set()
        self._known: set[int] = set()
        self._sharing: dict[int, list[int]] = {}
        for parameter in parameters:
            self._known.add(id(parameter))
            self._sharing.setdefault(_memory(parameter), []).append(id(parameter))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs or {})):
            if not isinstance(leaf, torch.Tensor):
                continue
            if id(leaf) in self._known:
                self.touched.add(id(leaf))
            else:  # such as `parameter.data`
                self.touched.update(self._sharing.get(_memory(leaf), ()))
        return func(*args, **(kwargs or {}))


def _memory(tensor: torch.Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):
        return 0  # a tensor without storage: sparse, or a wrapper
