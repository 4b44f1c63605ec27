# ruff: noqa: SLF001
# torch has no public names for its default device's context and its stacks of modes.
"""Checks of torch: what decides how it computes."""

from __future__ import annotations

import sys
from typing import Any, Final

from codevault.audits.check import Check, attributes, setting

_AREA: Final = "torch"
DEFAULT_DEVICE: Final = "torch default device"
_SDP: Final = ("flash", "mem_efficient", "math", "cudnn")
_REDUCED: Final = ("fp16_reduced_precision_reduction", "bf16_reduced_precision_reduction")
_TINY: Final = [1e-310]
"""A number that is zero where denormal numbers are flushed; in a list, so that it is not folded."""


def _context(torch: Any) -> Any:
    return getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)


def _device(torch: Any) -> str | None:
    context = _context(torch)
    return None if context is None else str(context.device)


def _deterministic(torch: Any) -> tuple[bool, bool]:
    enabled = torch.are_deterministic_algorithms_enabled()
    return enabled, torch.is_deterministic_algorithms_warn_only_enabled()


def _put_deterministic(torch: Any, before: tuple[bool, bool]) -> None:
    """The public function also imports inductor, in which it sets a flag."""
    inductor: Any = sys.modules.get("torch._inductor.config")
    if inductor is not None and hasattr(inductor, "deterministic"):
        inductor.deterministic = before[0]
    torch._C._set_deterministic_algorithms(before[0], warn_only=before[1])


def _autocast(torch: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"cache": torch.is_autocast_cache_enabled()}
    for kind in ("cpu", "cuda"):
        found[kind] = torch.is_autocast_enabled(kind)
        found[f"{kind} dtype"] = str(torch.get_autocast_dtype(kind))
    return found


def _put_autocast(torch: Any, name: str, value: Any) -> None:
    kind, _, dtype = name.partition(" ")
    if name == "cache":
        torch.set_autocast_cache_enabled(value)
    elif dtype:
        torch.set_autocast_dtype(kind, _dtype(torch, value))
    else:
        torch.set_autocast_enabled(kind, value)


def _dtype(torch: Any, name: str) -> Any:
    return getattr(torch, name.removeprefix("torch."))


def _attention(cuda: Any) -> dict[str, bool]:
    found = {name: getattr(cuda, f"{name}_sdp_enabled", None) for name in _SDP}
    return {name: enabled() for name, enabled in found.items() if enabled is not None}


def _put_attention(cuda: Any, name: str, value: bool) -> None:
    enable = "enable_mem_efficient_sdp" if name == "mem_efficient" else f"enable_{name}_sdp"
    getattr(cuda, enable)(value)


def _modes(torch: Any) -> tuple[Any, ...]:
    """Modes that intercept torch functions and operators, except that of the default device."""
    from_functions = torch.overrides._get_current_function_mode_stack()
    from_operators = torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    default = _context(torch)
    return tuple(m for m in (*from_functions, *from_operators) if m is not default)


def _hooks(module: Any) -> dict[str, Any]:
    """The hooks that every module of the process has."""
    found = {name: value for name, value in vars(module).items() if name.startswith("_global_")}
    return {n: tuple(v.items()) if isinstance(v, dict) else v for n, v in found.items()}


def _put_hook(module: Any, name: str, value: Any) -> None:
    held = getattr(module, name)
    if isinstance(held, dict):
        held.clear()
        held.update(value)
    else:
        setattr(module, name, value)


def _always(name: str, get: Any, put: Any, module: str = "torch") -> Check:
    return setting(name, _AREA, module, get, put, alters="always")


CHECKS: Final[tuple[Check, ...]] = (
    _always(
        "torch default dtype",
        lambda torch: str(torch.get_default_dtype()),
        lambda torch, old: torch.set_default_dtype(_dtype(torch, old)),
    ),
    _always(DEFAULT_DEVICE, _device, lambda torch, old: torch.set_default_device(old)),
    _always("torch deterministic algorithms", _deterministic, _put_deterministic),
    attributes(
        "torch fills of new memory",
        _AREA,
        "torch.utils.deterministic",
        "fill_uninitialized_memory",
        alters="always",
    ),
    _always(
        "torch matmul precision",
        lambda torch: torch.get_float32_matmul_precision(),
        lambda torch, old: torch.set_float32_matmul_precision(old),
    ),
    attributes(
        "torch float32 precision",
        _AREA,
        "torch.backends",
        *("fp32_precision", "cuda.matmul.fp32_precision", "cudnn.fp32_precision"),
        *("cudnn.conv.fp32_precision", "cudnn.rnn.fp32_precision", "mkldnn.fp32_precision"),
        *("mkldnn.matmul.fp32_precision", "mkldnn.conv.fp32_precision"),
        *("mkldnn.rnn.fp32_precision",),
        alters="always",
    ),
    attributes(
        "torch reduced precision",
        _AREA,
        "torch.backends",
        *(f"cuda.matmul.allow_{name}" for name in (*_REDUCED, "fp16_accumulation")),
        alters="always",
    ),
    attributes(
        "cudnn",
        _AREA,
        "torch.backends.cudnn",
        "enabled",
        "benchmark",
        "deterministic",
        alters="always",
    ),
    attributes(
        "mkldnn", _AREA, "torch.backends.mkldnn", "enabled", "deterministic", alters="always"
    ),
    attributes(
        "einsum", _AREA, "torch.backends.opt_einsum", "enabled", "strategy", alters="always"
    ),
    attributes("quantized engine", _AREA, "torch.backends.quantized", "engine", alters="always"),
    Check("attention kernels", _AREA, "torch.backends.cuda", _attention, _put_attention, "always"),
    _always(
        "fast path of attention",
        lambda mha: mha.get_fastpath_enabled(),
        lambda mha, old: mha.set_fastpath_enabled(old),
        "torch.backends.mha",
    ),
    _always(
        "flushing of denormal numbers",
        lambda _: _TINY[0] * 0.5 == 0,
        lambda torch, old: torch.set_flush_denormal(old),
    ),
    _always(
        "torch gradients",
        lambda torch: torch.is_grad_enabled(),
        lambda torch, old: torch.set_grad_enabled(old),
    ),
    _always("torch inference mode", lambda torch: torch.is_inference_mode_enabled(), None),
    Check("torch autocast", _AREA, "torch", _autocast, _put_autocast, "always"),
    _always("torch modes", _modes, None),
    Check(
        "hooks of all torch modules", _AREA, "torch.nn.modules.module", _hooks, _put_hook, "always"
    ),
    attributes("TorchScript", _AREA, "torch.jit._state", "_enabled.enabled", alters="always"),
)
