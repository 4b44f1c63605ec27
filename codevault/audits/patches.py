"""The sweep for monkeypatches: attributes of modules and classes that were replaced.

Attributes that were there before are compared, each by identity; a new one counts if it hides one
of a base class, or a builtin. A module that fills in its own globals, or a counter in it, is no
patch: `blame` tells them apart.
"""

from __future__ import annotations

import builtins
import operator
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from codevault.audits.check import ABSENT, Change, Check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Holders = Callable[[], Iterable[tuple[str, Any]]]

AREA: Final = "patches"
_COMPUTING: Final = (
    *("json", "json.encoder:*", "json.decoder:*", "random", "random:*", "os", "posixpath", "time"),
    *("math", "copy", "pickle", "functools", "itertools", "collections", "importlib", "inspect"),
    *("threading:Thread", "socket:socket", "subprocess:Popen", "subprocess"),
    *(
        "torch",
        "torch:Tensor",
        "torch:Generator",
        "torch.nn",
        "torch.nn.functional",
        "torch.nn.init",
    ),
    *("torch.nn.modules:*", "torch.nn.modules.module:*", "torch.nn.parameter:*"),
    *(
        "torch.nn.utils",
        "torch.optim",
        "torch.optim:*",
        "torch.optim.optimizer:*",
        "torch.distributions:*",
    ),
    *("torch.serialization", "torch.autograd", "torch.autograd:*", "torch.cuda", "torch.random"),
    *("torch.linalg", "torch.fft", "torch.jit", "torch.compiler", "torch.utils.data:*"),
    *("torch.utils.checkpoint", "numpy", "numpy.random", "numpy.linalg", "einops"),
    *("gymnasium", "gymnasium:*", "gymnasium.spaces:*", "gymnasium.vector:*"),
    *("tensordict", "tensordict:*", "tensordict.nn:*"),
)
"""Modules that old code was seen to patch, or that results hang on; `:*` means their classes."""
_TELLING: Final = ("logging", "logging:*", "warnings", "traceback")
_HEAP: Final = 1 << 9
"""Set in classes made by Python code: others cannot be patched."""
_FILLED_IN: Final = frozenset(
    {
        *("__abstractmethods__", "__annotations__", "__builtins__", "__doc__"),
        *("__warningregistry__", "_loggerClass", "_logRecordFactory"),
    }
)
"""Attributes that Python itself sets when it likes; and two that have a check of their own."""
_ASSIGNED: Final = (
    r"\.\s*{key}\s*=(?!=)",
    r"attr\([^)]*['\"]{key}['\"]",
    r"\[\s*['\"]{key}['\"]\s*\]\s*=(?!=)",
    r"\bdel\s[^\n]*\.{key}\b",
)
"""How text sets or deletes an attribute of something else."""


def sweep(shared: Sequence[str]) -> tuple[Check, ...]:
    """The checks of the sweep, for a snapshot that shares these names."""
    return (
        _check("patched shared code", lambda: _shared(shared)),
        _check("patched library code", lambda: _listed(_COMPUTING)),
        _check("patched logging code", lambda: _listed(_TELLING), telling=True),
    )


def _check(name: str, holders: Holders, *, telling: bool = False) -> Check:
    def read(_: Any) -> Mapping[str, Any]:
        found: dict[int, tuple[str, Any]] = {}
        for title, holder in holders():
            found.setdefault(id(holder), (title, holder))
        return {title: (holder, vars(holder).copy()) for title, holder in found.values()}

    def put(_: Any, key: tuple[str, str], value: Any) -> None:
        holder = dict(holders())[key[0]]
        delattr(holder, key[1]) if value is ABSENT else setattr(holder, key[1], value)

    return Check(
        name,
        AREA,
        "sys",
        read,
        put,
        "never" if telling else "always",
        blame=_ASSIGNED,
        spell=lambda key: str(key[1]),
        diff=_differing,
        get=lambda state, key: state[key[0]][1].get(key[1], ABSENT) if key[0] in state else ABSENT,
        again=lambda before: {t: (holder, vars(holder)) for t, (holder, _) in before.items()},
    )


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for title, (holder, old) in before.items():
        new = after[title][1]
        if len(old) == len(new) and all(map(operator.is_, old.values(), new.values())):
            continue
        for name, value in old.items():
            if new.get(name, ABSENT) is not value and name not in _FILLED_IN:
                yield Change((title, name), value, new.get(name, ABSENT))
        for name in new.keys() - old.keys() - _FILLED_IN:
            if _hides(holder, name):
                yield Change((title, name), ABSENT, new[name])


def _hides(holder: Any, name: str) -> bool:
    bases = holder.__mro__[1:] if isinstance(holder, type) else (builtins,)
    return any(name in vars(base) for base in bases)


def _shared(prefixes: Sequence[str]) -> Iterable[tuple[str, Any]]:
    if not prefixes:
        return
    starts = tuple(prefixes)
    for name in [name for name in list(sys.modules) if name.startswith(starts)]:
        if any(f"{name}.".startswith(f"{prefix}.") for prefix in prefixes):
            module = sys.modules.get(name)
            if isinstance(module, ModuleType):
                yield name, module
                yield from _classes(name, module, lambda cls: cls.__module__ == name)  # noqa: B023


def _listed(places: Sequence[str]) -> Iterable[tuple[str, Any]]:
    for place in places:
        name, _, part = place.partition(":")
        module = sys.modules.get(name)
        if module is None:
            continue
        if part == "*":
            top = name.partition(".")[0]
            yield from _classes(name, module, lambda cls: cls.__module__.startswith(top))  # noqa: B023
        elif part:
            holder = vars(module).get(part)
            if isinstance(holder, type):
                yield f"{name}.{part}", holder
        else:
            yield name, module


def _classes(name: str, module: ModuleType, wanted: Any) -> Iterator[tuple[str, Any]]:
    for attribute, value in list(vars(module).items()):
        if isinstance(value, type) and value.__flags__ & _HEAP and wanted(value):
            yield f"{name}.{attribute}", value
