"""Notices own modules whose files were edited after they were imported.

A training run lasts for days, and its work tree is edited meanwhile: what is on disk when a
checkpoint is saved need not be what the policy runs. A module counts as edited if its file is
younger than this process and compiles to other code than the module's functions have.
"""

from __future__ import annotations

import os
import sys
import time
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from codevault.ownmodules import OwnModule

_STARTED: Final = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)


def edited(modules: Iterable[OwnModule]) -> tuple[str, ...]:
    """Names of the modules that run other code than their files hold now."""
    since = _process_start()
    return tuple(m.name for m in modules if os.path.getmtime(m.file) > since and _differs(m))


def _process_start() -> float:
    """When this process began, in seconds since the epoch; 0 where the system does not tell."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0.0
    return _STARTED + ticks / os.sysconf("SC_CLK_TCK") - 1


def _differs(own: OwnModule) -> bool:
    module = sys.modules[own.loaded]
    try:
        with open(own.file, "rb") as file:
            there = set(_nested(compile(file.read(), own.file, "exec", dont_inherit=True)))
    except (OSError, SyntaxError, ValueError):
        return True
    return any(code not in there for code in _running(module, os.path.realpath(own.file)))


def _nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _nested(constant)


def _running(module: ModuleType, file: str) -> Iterator[CodeType]:
    """Code of the functions and methods that the module's file defined."""
    waiting: list[Any] = list(vars(module).values())
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen or getattr(value, "__module__", None) != module.__name__:
            continue
        seen.add(id(value))
        if isinstance(value, type):
            waiting += vars(value).values()
        function = getattr(value, "__func__", value)
        if not isinstance(function, FunctionType):
            continue
        if os.path.realpath(function.__code__.co_filename) == file:
            yield function.__code__
