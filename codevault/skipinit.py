"""Builds a large policy without filling its weights first, where that is proven to change nothing.

Most of the time of a large policy's construction goes into initial weights that the checkpoint's
replace. Where the code asks torch for memory that is not set yet (`torch.empty`, as torch's own
modules do for their weights), it can be given a tensor without memory (`meta`), on which every
initialiser is free; the memory comes when it is done. Code may notice that. So the first load
builds both ways and compares the policies in every attribute and tensor; what it found is kept for
that code, description and torch.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.overrides import TorchFunctionMode

from codevault.equalpolicies import alike
from codevault.rng import kept_rng, taken

if TYPE_CHECKING:
    from collections.abc import Callable

TAG: Final = "unfilled-1"
_SAME, _OTHER = b"same", b"other"
_CPU: Final = torch.device("cpu")
_TYPES: Final = (torch.Tensor, torch.nn.Parameter)
_TENSOR: Final[Any] = torch.Tensor
_ANSWERS: Final[dict[Any, Any]] = {
    _TENSOR.device.__get__: _CPU,
    _TENSOR.is_meta.__get__: False,
    _TENSOR.is_cpu.__get__: True,
}
"""What is said of a tensor without memory: what would be true of it with memory."""


def constructed(
    make: Callable[[], Any],
    give: Callable[[Any], object],
    keep: Callable[[Callable[[], bytes]], bytes],
) -> Any:
    """A policy with its weights, as `make` and `give` leave it.

    Args:
        make: Builds it; runs twice the first time.
        give: Gives it its weights.
        keep: Gives the answer that is kept for this code and description, or keeps what its
            argument finds.

    Raises:
        Whatever `make` and `give` raise.
    """
    first: list[Any] = []

    def compare() -> bytes:
        put_back = taken()
        first.append(_filled(make, give))
        with kept_rng():  # as the first left them: the audit tells what old code seeded
            put_back()
            other = _unfilled(make, give)
        return _SAME if other is not None and alike(first[0], other) else _OTHER

    answer = keep(compare)
    if first:
        return first[0]
    policy = _unfilled(make, give) if answer == _SAME else None
    return _filled(make, give) if policy is None else policy


def tag(description: dict[str, Any], env: Any) -> str:
    """What an answer is kept under, beside the code: the description, the environment, torch."""
    words = json.dumps([description, env, torch.__version__], sort_keys=True, default=repr)
    return f"{TAG}-{hashlib.sha256(words.encode()).hexdigest()[:24]}"


def _filled(make: Callable[[], Any], give: Callable[[Any], object]) -> Any:
    policy = make()
    give(policy)
    return policy


def _unfilled(make: Callable[[], Any], give: Callable[[Any], object]) -> Any | None:
    """The policy built without initial weights; None where the code does not go with that."""
    if torch.get_default_device() != _CPU:
        return None
    try:
        with _Unfilled():
            policy = make()
        if not isinstance(policy, torch.nn.Module):
            return None
        tensors = [*policy.parameters(), *policy.buffers()]
        for tensor in tensors:
            if tensor.is_meta:
                _give_memory(tensor)
        give(policy)
    except Exception:  # the other way will do, or raise it again
        return None
    return policy


class _Unfilled(TorchFunctionMode):
    """`torch.empty` gives a tensor without memory; concerns this thread only."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func is torch.empty and given.get("out") is None and not given.get("pin_memory"):
            device = given.get("device")
            if device is None or torch.device(device) == _CPU:
                return func(*args, **{**given, "device": "meta"})
        if func in _ANSWERS and args[0].is_meta:
            return _ANSWERS[func]
        return func(*args, **given)


def _give_memory(tensor: torch.Tensor) -> None:
    """Makes it a tensor of the CPU, the same object; no page of the memory is touched.

    Raises:
        ValueError: It is of a kind of its own, or hooks hang on it.
        RuntimeError: Something else refers to what is inside of it.
    """
    if type(tensor) not in _TYPES or tensor._backward_hooks:  # noqa: SLF001
        raise ValueError(f"a {type(tensor).__qualname__} cannot be given memory")
    made = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype)
    if isinstance(tensor, torch.nn.Parameter):
        made = torch.nn.Parameter(made, requires_grad=tensor.requires_grad)
    # torch.utils.swap_tensors without its refusal of weak references, which torch's own recurrent
    # modules keep: the object stays the same.
    torch._C._swap_tensor_impl(tensor, made)  # noqa: SLF001
