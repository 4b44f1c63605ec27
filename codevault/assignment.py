# ruff: noqa: SLF001
# What torch's own loader reads of a module has no public name.
"""The assignment of weights to a policy: a strict load_state_dict, without the copy if proven.

A parameter takes over a mapped tensor's memory, and stays the same object, only where nothing can
tell the difference. What cannot be proven is copied, as torch does it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.nn.modules.batchnorm import _NormBase

from codevault.compilednames import named_as
from codevault.errors import StateDictError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MISSING, _UNEXPECTED = "missing in file: ", "unexpected in file: "
_KEYS: Final = 4
_LINES: Final = 4
"""How many keys, and how many other faults, an error names."""
_ALIGN: Final = 64
_COUNTER: Final = "num_batches_tracked"


def assign(policy: Any, tensors: Mapping[str, torch.Tensor], *, where: str, hint: str = "") -> None:
    """Gives a policy its weights, with the result of `load_state_dict(tensors, strict=True)`.

    The policy may take over the tensors' memory, so they belong to it afterwards. Where a module
    has load hooks or methods of its own, torch's load_state_dict runs, and what it assigned before
    an error stays assigned; otherwise nothing is changed when an error is raised.

    Args:
        policy: A module, or an object with `load_state_dict`.
        tensors: What `weights.map_weights` gave.
        where: The checkpoint, for messages.
        hint: What the caller can do about weights that do not fit.

    Raises:
        StateDictError: Weights and policy do not fit; names every missing and unexpected key and
            every other shape.
    """
    if not isinstance(policy, torch.nn.Module):
        _load_other(policy, tensors, where, hint)
        return
    tensors = named_as(policy, tensors)
    targets = _targets(policy, tensors)
    if targets is None:
        _load_plainly(policy, tensors, where, hint)
        return
    if faults := _faults(policy, targets, tensors):
        raise _error(where, faults, hint)
    alone = _users(torch.empty(1, device="cpu"))
    with torch.no_grad():
        for key, target in targets.items():
            source = tensors[key]
            if _swappable(target, source, alone):
                target.data = source
            elif target.data_ptr() != source.data_ptr() or not target.numel():
                # The same memory means that a tied entry was assigned under its other name.
                target.copy_(source)


def _targets(
    policy: torch.nn.Module, tensors: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor] | None:
    """The tensors that torch would load to, by key, in its order; None if only torch can tell."""
    cls = type(policy)
    if cls.load_state_dict is not torch.nn.Module.load_state_dict:
        return None
    if torch.__future__.get_swap_module_params_on_conversion():
        return None
    targets: dict[str, torch.Tensor] = {}
    for path, module in policy.named_modules(remove_duplicate=False):
        if not _is_plain(module):
            return None
        prefix = f"{path}." if path else ""
        for name, tensor in _entries(module):
            key = prefix + name
            source = tensors.get(key)
            if not _is_simple(tensor) or (source is not None and not _is_simple(source)):
                return None
            # torch fills in the counter, and reads a file's [1] as a scalar.
            if source is None and name == _COUNTER:
                return None
            if source is not None and tensor.dim() == 0 and source.dim() == 1:
                return None
            targets[key] = tensor
    return targets


def _is_plain(module: torch.nn.Module) -> bool:
    """True if loading this module is nothing but copying its parameters and buffers."""
    cls, plain = type(module), torch.nn.Module
    own = {"load_state_dict", "_load_from_state_dict", "set_extra_state"} & set(vars(module))
    loads = cls._load_from_state_dict in (
        plain._load_from_state_dict,
        _NormBase._load_from_state_dict,
    )
    hooks = module._load_state_dict_pre_hooks or module._load_state_dict_post_hooks
    return (
        loads
        and not own
        and not hooks
        and cls.set_extra_state is plain.set_extra_state
        and not isinstance(module, torch.jit.ScriptModule)
    )


def _entries(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield name, parameter
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._non_persistent_buffers_set:
            yield name, buffer


def _is_simple(tensor: torch.Tensor) -> bool:
    return (
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and tensor.layout is torch.strided
        and not tensor.is_meta
        and not tensor.is_quantized
        and torch._debug_has_internal_overlap(tensor) != 1  # expanded: it takes no copy
    )


def _faults(
    policy: torch.nn.Module,
    targets: Mapping[str, torch.Tensor],
    tensors: Mapping[str, torch.Tensor],
) -> list[str]:
    # torch accepts whatever stands below a submodule that is None.
    absent = tuple(
        f"{path}.{name}." if path else f"{name}."
        for path, module in policy.named_modules(remove_duplicate=False)
        for name, child in module._modules.items()
        if child is None
    )
    missing = [f"{_MISSING}{key}" for key in targets if key not in tensors]
    unexpected = [
        f"{_UNEXPECTED}{key}"
        for key in tensors
        if key not in targets and not key.startswith(absent)
    ]
    shapes = [
        f"{key} {_shape(tensors[key])} in file, {_shape(target)} in code"
        for key, target in targets.items()
        if key in tensors and tensors[key].shape != target.shape
    ]
    return missing + unexpected + shapes


def _told(faults: list[str]) -> list[str]:
    """A line for each kind of fault: of renamed keys both sides must be seen."""
    lines, rest = [], faults
    for label in (_MISSING, _UNEXPECTED):
        keys = [text.removeprefix(label) for text in rest if text.startswith(label)]
        rest = [text for text in rest if not text.startswith(label)]
        more = f" and {len(keys) - _KEYS} more" if len(keys) > _KEYS else ""
        lines += [f"{label}{', '.join(keys[:_KEYS])}{more}"] if keys else []
    more_lines = [f"and {len(rest) - _LINES} more"] if len(rest) > _LINES else []
    return lines + rest[:_LINES] + more_lines


def _shape(tensor: torch.Tensor) -> str:
    return f"[{','.join(map(str, tensor.shape))}]"


def _error(where: str, faults: list[str], hint: str) -> StateDictError:
    why = "".join(f"\n    {line}" for line in _told(faults))
    return StateDictError(
        f"the weights of {where} do not fit the policy that was built: {len(faults)} faults",
        why,
        hint,
    )


def _users(tensor: torch.Tensor) -> tuple[int, int]:
    """How many hold this tensor's memory: C++ owners, and Python references to its storage."""
    storage = tensor.untyped_storage()
    count = getattr(torch._C, "_storage_Use_Count", None)
    # Never equal to another answer: without the count nothing is proven, and all is copied.
    return (count(storage._cdata) if count else id(storage)), sys.getrefcount(storage)


def _owns_memory(tensor: torch.Tensor, alone: tuple[int, int]) -> bool:
    storage = tensor.untyped_storage()
    whole = tensor.storage_offset() == 0 and storage.nbytes() == tensor.nbytes
    shared = storage.is_shared()
    del storage
    return whole and not shared and tensor.is_contiguous() and _users(tensor) == alone


def _swappable(target: torch.Tensor, source: torch.Tensor, alone: tuple[int, int]) -> bool:
    """True if taking over the source's memory cannot be told from copying its values.

    Views made when the policy was built, a second policy that took the same tensors, and tied names
    that the code does not tie are all seen as further users of the memory.
    """
    return (
        target.dtype == source.dtype
        and target.device.type == source.device.type == "cpu"
        and target.numel() > 0
        and target.stride() == source.stride()
        # Kernels may choose another order of summation for memory that torch would not hand out.
        and source.data_ptr() % _ALIGN == 0
        and target._base is None
        and not target.is_conj()
        and not target.is_neg()
        and _owns_memory(target, alone)
        and _owns_memory(source, alone)
    )


def _load_plainly(
    policy: torch.nn.Module, tensors: Mapping[str, torch.Tensor], where: str, hint: str
) -> None:
    meta = [key for key, value in policy.state_dict(keep_vars=True).items() if _on_meta(value)]
    if meta:
        # torch only warns, and leaves such a parameter without values.
        raise _error(where, [f"{key} has no memory (meta device)" for key in meta], hint)
    try:
        policy.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise _error(where, lines[1:] or lines, hint) from error


def _on_meta(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_meta


def _load_other(policy: Any, tensors: Mapping[str, torch.Tensor], where: str, hint: str) -> None:
    load = getattr(policy, "load_state_dict", None)
    if load is None:
        if tensors:
            fault = f"{type(policy).__qualname__} has no load_state_dict for {len(tensors)} tensors"
            raise _error(where, [fault], hint)
        return
    try:
        load(dict(tensors))
    except (RuntimeError, KeyError, ValueError) as error:
        raise _error(where, str(error).splitlines() or [repr(error)], hint) from error
