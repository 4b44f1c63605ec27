# ruff: noqa: SLF001
# torch and tensordict keep some of their settings under private names.
"""Checks of settings: torch's that change no results, numpy's, tensordict's, matplotlib's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from codevault.audits.check import Check, attributes, setting

if TYPE_CHECKING:
    from collections.abc import Mapping

_TORCH: Final = "torch"
_NUMERIC: Final = "numeric libraries"


def _anomaly(torch: Any) -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def _compiler(config: Any) -> Mapping[str, Any]:
    """Plain settings, except the one that `torch.use_deterministic_algorithms` sets."""
    plain = (bool, int, float, str, type(None))
    found = config.get_config_copy().items()
    return {n: v for n, v in found if isinstance(v, plain) and n != "deterministic"}


def _print_options(tensor_str: Any) -> dict[str, Any]:
    return dict(vars(tensor_str.PRINT_OPTS))


def _errors(numpy: Any) -> dict[str, Any]:
    return {**numpy.geterr(), "call": numpy.geterrcall()}


def _put_error(numpy: Any, name: str, value: Any) -> None:
    if name == "call":
        numpy.seterrcall(value)
    else:
        numpy.seterr(**{name: value})


def _numpy_print_options(numpy: Any) -> dict[str, Any]:
    options: dict[str, Any] = numpy.get_printoptions()
    return options


def _lazy(package: Any) -> tuple[Any, ...]:
    names = ("lazy_legacy", "list_to_stack", "capture_non_tensor_stack")
    return tuple(getattr(package, n)() if hasattr(package, n) else None for n in names)


def _put_lazy(package: Any, before: tuple[Any, ...]) -> None:
    names = ("set_lazy_legacy", "set_list_to_stack", "set_capture_non_tensor_stack")
    for name, value in zip(names, before, strict=True):
        if value is not None:
            getattr(package, name)(value).set()


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


CHECKS: Final[tuple[Check, ...]] = (
    setting(
        "torch threads",
        _TORCH,
        "torch",
        lambda torch: torch.get_num_threads(),
        lambda torch, old: torch.set_num_threads(old),
    ),
    setting(
        "torch threads between operators", _TORCH, "torch", lambda t: t.get_num_interop_threads()
    ),
    setting(
        "torch anomaly detection",
        _TORCH,
        "torch",
        _anomaly,
        lambda torch, old: torch.autograd.set_detect_anomaly(*old),
    ),
    Check(
        "torch print options",
        _TORCH,
        "torch._tensor_str",
        _print_options,
        lambda tensor_str, name, old: setattr(tensor_str.PRINT_OPTS, name, old),
    ),
    setting(
        "repeated torch warnings",
        _TORCH,
        "torch",
        lambda torch: torch.is_warn_always_enabled(),
        lambda torch, old: torch.set_warn_always(old),
    ),
    setting(
        "sharing of tensors",
        _TORCH,
        "torch.multiprocessing",
        lambda m: m.get_sharing_strategy(),
        lambda m, old: m.set_sharing_strategy(old),
    ),
    attributes("folder of torch.hub", _TORCH, "torch.hub", "_hub_dir"),
    attributes(
        "checks of distributions",
        _TORCH,
        "torch.distributions",
        "Distribution._validate_args",
        blame=(r"set_default_validate_args",),
    ),
    setting("CUDA was started", _TORCH, "torch.cuda", lambda cuda: cuda.is_initialized()),
    setting(
        "torch.distributed was started",
        _TORCH,
        "torch.distributed",
        lambda d: d.is_available() and d.is_initialized(),
    ),
    *(
        Check(
            f"settings of {name}",
            _TORCH,
            name,
            _compiler,
            lambda config, name, old: setattr(config, name, old),
            blame=(r"\b{key}\b",),
            spell=lambda key: str(key).rpartition(".")[2],
        )
        for name in ("torch._dynamo.config", "torch._inductor.config")
    ),
    Check("numpy errors", _NUMERIC, "numpy", _errors, _put_error),
    Check(
        "numpy print options",
        _NUMERIC,
        "numpy",
        _numpy_print_options,
        lambda numpy, name, value: numpy.set_printoptions(**{name: value}),
    ),
    setting(
        "numpy buffer size",
        _NUMERIC,
        "numpy",
        lambda numpy: numpy.getbufsize(),
        lambda numpy, value: numpy.setbufsize(value),
    ),
    setting("TensorDict's stacks", _NUMERIC, "tensordict", _lazy, _put_lazy, alters="always"),
    setting(
        "TensorDict's way to sample",
        _NUMERIC,
        "tensordict.nn",
        lambda nn: nn.interaction_type(),
        lambda nn, old: nn.probabilistic._interaction_type.set_mode(old),
        alters="always",
    ),
    Check(
        "matplotlib settings",
        _NUMERIC,
        "matplotlib",
        lambda m: {k: _frozen(v) for k, v in dict.items(m.rcParams)},
        lambda m, name, value: dict.__setitem__(m.rcParams, name, value),
        blame=(
            r"rcParams",
            r"\bmatplotlib\.use\b",
            r"\bplt\.style\b",
            r"\bsns\.set",
            r"\bswitch_backend\b",
        ),
    ),
)
