# torch keeps its print options under a private name.
"""Checks of torch: settings that change no results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from codevault.audits.check import Check, attributes, setting

if TYPE_CHECKING:
    from collections.abc import Mapping

_AREA: Final = "torch"


def _anomaly(torch: Any) -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def _compiler(config: Any) -> Mapping[str, Any]:
    """Plain settings, except the one that `torch.use_deterministic_algorithms` sets."""
    plain = (bool, int, float, str, type(None))
    found = config.get_config_copy().items()
    return {n: v for n, v in found if isinstance(v, plain) and n != "deterministic"}


def _print_options(tensor_str: Any) -> dict[str, Any]:
    return dict(vars(tensor_str.PRINT_OPTS))


CHECKS: Final[tuple[Check, ...]] = (
    setting(
        "torch threads",
        _AREA,
        "torch",
        lambda torch: torch.get_num_threads(),
        lambda torch, old: torch.set_num_threads(old),
    ),
    setting(
        "torch threads between operators", _AREA, "torch", lambda t: t.get_num_interop_threads()
    ),
    setting(
        "torch anomaly detection",
        _AREA,
        "torch",
        _anomaly,
        lambda torch, old: torch.autograd.set_detect_anomaly(*old),
    ),
    Check(
        "torch print options",
        _AREA,
        "torch._tensor_str",
        _print_options,
        lambda tensor_str, name, old: setattr(tensor_str.PRINT_OPTS, name, old),
    ),
    setting(
        "repeated torch warnings",
        _AREA,
        "torch",
        lambda torch: torch.is_warn_always_enabled(),
        lambda torch, old: torch.set_warn_always(old),
    ),
    setting(
        "sharing of tensors",
        _AREA,
        "torch.multiprocessing",
        lambda m: m.get_sharing_strategy(),
        lambda m, old: m.set_sharing_strategy(old),
    ),
    attributes("folder of torch.hub", _AREA, "torch.hub", "_hub_dir"),
    attributes(
        "checks of distributions",
        _AREA,
        "torch.distributions",
        "Distribution._validate_args",
        blame=(r"set_default_validate_args",),
    ),
    setting("CUDA was started", _AREA, "torch.cuda", lambda cuda: cuda.is_initialized()),
    setting(
        "torch.distributed was started",
        _AREA,
        "torch.distributed",
        lambda d: d.is_available() and d.is_initialized(),
    ),
    *(
        Check(
            f"settings of {name}",
            _AREA,
            name,
            _compiler,
            lambda config, name, old: setattr(config, name, old),
            blame=(r"\b{key}\b",),
            spell=lambda key: str(key).rpartition(".")[2],
        )
        for name in ("torch._dynamo.config", "torch._inductor.config")
    ),
)
