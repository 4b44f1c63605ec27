"""Own modules whose functions are not the ones that their files hold now.

A training run lasts for days, and its work tree is edited meanwhile: what is on disk when a
checkpoint is saved need not be what the policy runs. A module counts as edited if its file is
younger than this process, and a function of it has no counterpart in the file, comments and line
numbers apart.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from importlib.machinery import SourceFileLoader
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from codevault.ownmodules import OwnModule

_INNER: Final = ("__func__", "__wrapped__", "fget", "fset", "fdel", "func")
"""Where decorators, properties, methods and partial objects keep the function inside."""


def edited(modules: Iterable[OwnModule]) -> tuple[str, ...]:
    """Names of the modules that run other code than their files hold now."""
    since = _process_start()
    return tuple(m.name for m in modules if _is_younger(m.file, since) and _differs(m))


def _is_younger(file: str, since: float) -> bool:
    try:
        return os.path.getmtime(file) > since
    except OSError:
        return True  # gone since it was imported


def _process_start() -> float:
    """When this process began, in seconds since the epoch; 0 where the system does not tell."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)  # what process start times are counted in
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        booted = time.time() - time.clock_gettime(clock) if clock is not None else 0.0
    except (OSError, ValueError, IndexError):
        return 0.0
    return booted + ticks / os.sysconf("SC_CLK_TCK") - 1 if booted else 0.0


def _differs(own: OwnModule) -> bool:
    try:
        with open(own.file, "rb") as file:
            code = compile(file.read(), own.file, "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError):
        return True
    module = sys.modules[own.loaded]
    loader = getattr(module, "__loader__", None)
    compiles = getattr(type(loader), "source_to_code", None)
    if loader is not None and compiles is not SourceFileLoader.source_to_code:
        return False  # pytest's and the like compile something else than the text
    there = {_normal(nested) for nested in _nested(code)}
    running = _running(module, os.path.realpath(own.file))
    return any(_normal(code) not in there for code in running)


def _normal(code: CodeType) -> CodeType:
    """The code without file name and line numbers: a comment above is no edit."""
    constants = tuple(_normal(c) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.replace(co_consts=constants, co_filename="", co_firstlineno=1, co_linetable=b"")


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
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, type) and value.__module__ == module.__name__:
            waiting += vars(value).values()
        if isinstance(value, FunctionType):
            if os.path.realpath(value.__code__.co_filename) == file:
                yield value.__code__
            waiting += [value.__dict__["__wrapped__"]] if "__wrapped__" in value.__dict__ else []
        elif isinstance(value, property | classmethod | staticmethod | functools.partial):
            waiting += [getattr(value, name, None) for name in _INNER]
