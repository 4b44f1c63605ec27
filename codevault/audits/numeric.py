# ruff: noqa: SLF001
# The way to sample can be set for good only under a private name.
"""Checks of numpy, and of libraries of numbers and tables that have settings of their own."""

from __future__ import annotations

from typing import Any, Final

from codevault.audits.check import Check, setting

_AREA: Final = "numeric libraries"


def _errors(numpy: Any) -> dict[str, Any]:
    return {**numpy.geterr(), "call": numpy.geterrcall()}


def _put_error(numpy: Any, name: str, value: Any) -> None:
    if name == "call":
        numpy.seterrcall(value)
    else:
        numpy.seterr(**{name: value})


def _print_options(numpy: Any) -> dict[str, Any]:
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


CHECKS: Final[tuple[Check, ...]] = (
    Check("numpy errors", _AREA, "numpy", _errors, _put_error),
    Check(
        "numpy print options",
        _AREA,
        "numpy",
        _print_options,
        lambda numpy, name, value: numpy.set_printoptions(**{name: value}),
    ),
    setting(
        "numpy buffer size",
        _AREA,
        "numpy",
        lambda numpy: numpy.getbufsize(),
        lambda numpy, value: numpy.setbufsize(value),
    ),
    setting("TensorDict's stacks", _AREA, "tensordict", _lazy, _put_lazy, alters="always"),
    setting(
        "TensorDict's way to sample",
        _AREA,
        "tensordict.nn",
        lambda nn: nn.interaction_type(),
        lambda nn, old: nn.probabilistic._interaction_type.set_mode(old),
        alters="always",
    ),
    Check(
        "matplotlib settings",
        _AREA,
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


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
