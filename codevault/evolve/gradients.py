# ruff: noqa: SLF001
# What `torch.no_grad` calls has no public name.
"""What each parameter of a policy does for its outputs, whatever it is called.

Every parameter gets values that its shape alone decides, so that two versions of one function
give the same outputs before anybody knows which key became which. A parameter's gradient then
tells its place in that function: equal in both versions for what is the same, and different for
what only looks the same, such as query, key and value of an attention layer.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

from codevault.evolve.roles import Roles
from codevault.probecopy import understudy_of
from codevault.tensortree import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from codevault.probe import Probe

_FILLINGS: Final = 2
"""How many fillings are tried; a unit that is dead under one is mostly alive under another."""
_PRECISION: Final = {torch.float64: 1e-4, torch.float32: 1e-3}
"""Far above rounding, because much code computes a softmax or a position in float32 in any case."""
_LEAST: Final = 1e-2


def parameter_roles(module: torch.nn.Module, arguments: Sequence[Any]) -> Roles:
    """Runs a module on observations and tells what each of its parameters does for the outputs.

    It runs on the CPU, in eval mode, on a copy (`probecopy`): in float64, and where its code
    insists on another dtype, in float32.

    Args:
        module: On the CPU, with any weights; it is left as it was.
        arguments: The positional arguments of its call.

    Raises:
        Exception: What the module raises.
    """
    try:
        return _roles(module, tuple(arguments), torch.float64)
    except (RuntimeError, TypeError, ValueError):
        return _roles(module, tuple(arguments), torch.float32)


def probed_roles(old: Any, new: Any, probe: Probe | None) -> tuple[Roles, Roles] | None:
    """The roles of two versions, run on the first observation of a probe.

    None where there is no probe, either is no module, or its code raises: then names and order
    are left.
    """
    if probe is None or not all(isinstance(each, torch.nn.Module) for each in (old, new)):
        return None
    found = []
    for policy in (old, new):
        value = unpack(probe.inputs[0], {probe.device: torch.device("cpu")})
        arguments = value if probe.inputs[0].structure["kind"] == "tuple" else (value,)
        try:
            found.append(parameter_roles(policy, arguments))
        except Exception:
            return None
    return found[0], found[1]


def _roles(module: torch.nn.Module, arguments: tuple[Any, ...], dtype: torch.dtype) -> Roles:
    found: dict[str, list[float]] = {}
    unused: set[str] = {key for key, _ in module.named_parameters(remove_duplicate=False)}
    unused |= {key for key, _ in module.named_buffers()}
    for filling in range(_FILLINGS):
        gradients, used = _run(module, arguments, dtype, filling)
        unused -= used
        for key, gradient in gradients.items():
            found.setdefault(key, []).extend(_fingerprint(gradient.double()))
    precision = _PRECISION[dtype]
    # What rounding leaves of a gradient that is zero, as a key's bias has before a softmax.
    least = _LEAST * precision * max((abs(f) for some in found.values() for f in some), default=0)
    kept = {key: tuple(some) for key, some in found.items() if max(map(abs, some)) > least}
    return Roles(kept, frozenset(unused), precision)


def _run(
    module: torch.nn.Module, arguments: tuple[Any, ...], dtype: torch.dtype, filling: int
) -> tuple[dict[str, torch.Tensor], set[str]]:
    with understudy_of(module, filling) as stage, torch.enable_grad():
        names = _names(stage.policy)
        parameters = {
            keys[0]: _values(parameter.shape, f"filling {filling}").to(dtype).requires_grad_()
            for parameter, keys in names.items()
            if parameter.is_floating_point()
        }
        buffers = {key: _as(value, dtype) for key, value in stage.policy.named_buffers()}
        # Each run gets its own, since a policy may write what it gives into what it takes.
        given = _pytree.tree_map(lambda value: _as(value, dtype), arguments)
        with _Uses(parameters | buffers) as seen:
            outputs = torch.func.functional_call(stage.policy, parameters | buffers, given)
        loss = torch.zeros((), dtype=torch.float64, requires_grad=True) * 1
        for place, tensor in enumerate(_tensors(outputs)):
            loss = loss + (tensor * _values(tensor.shape, f"output {filling} {place}")).sum()
        found = torch.autograd.grad(
            loss, list(parameters.values()), allow_unused=True, materialize_grads=True
        )
    copies = {keys[0]: keys for keys in names.values()}
    gradients = {
        key: gradient
        for first, gradient in zip(parameters, found, strict=True)
        for key in copies[first]
    }
    return gradients, {key for first in seen.keys for key in copies.get(first, [first])}


def _names(module: torch.nn.Module) -> dict[torch.nn.Parameter, list[str]]:
    """Each parameter's keys; tied ones have several."""
    found: dict[torch.nn.Parameter, list[str]] = {}
    for key, parameter in module.named_parameters(remove_duplicate=False):
        found.setdefault(parameter, []).append(key)
    return found


class _Uses(TorchFunctionMode):
    """Notes which tensors are used, and keeps gradients on, which many policies switch off."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._names = {id(tensor): key for key, tensor in tensors.items()}
        self.keys: set[str] = set()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch._C._set_grad_enabled:
            return None
        kwargs = kwargs or {}
        values = _pytree.tree_leaves((args, kwargs))
        self.keys |= {self._names[id(value)] for value in values if id(value) in self._names}
        return func(*args, **kwargs)


def _values(shape: torch.Size, purpose: str) -> torch.Tensor:
    """Random numbers that only shape and purpose decide; in magnitude as layers are started."""
    seed = zlib.crc32(f"{purpose} {tuple(shape)}".encode())
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if len(shape) > 1:
        return values / math.sqrt(max(1, shape[1:].numel()))
    return 1 + 0.2 * values


def _fingerprint(gradient: torch.Tensor) -> list[float]:
    projection = (gradient * _values(gradient.shape, "projection")).sum()
    parts = [float(gradient.norm()), float(projection)]
    return parts if all(map(math.isfinite, parts)) else [0.0, 0.0]


def _as(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, torch.Tensor):
        wanted = dtype if value.is_floating_point() else value.dtype
        return value.detach().to("cpu", wanted).clone()
    return value


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """The differentiable tensors of what a module returned, in order."""
    if isinstance(value, torch.Tensor):
        if value.is_floating_point() and value.requires_grad:
            yield value
    elif isinstance(value, Mapping) or hasattr(value, "keys"):
        for key in value.keys():  # noqa: SIM118
            yield from _tensors(value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))
