# ruff: noqa: SLF001
# atexit's count and threading's hooks have no public names.
"""Checks of the interpreter: import paths, hooks, limits, the collector, threads."""

from __future__ import annotations

import operator
import sys
import threading
from typing import Any, Final

from codevault.audits.check import ABSENT, Change, Check, attributes, entries, setting
from codevault.audits.wording import home_of

_AREA: Final = "interpreter"
MODULES: Final = "modules in sys.modules"
"""The check whose state is all modules by name."""
_HOOKS: Final = (
    "excepthook",
    "displayhook",
    "unraisablehook",
    "breakpointhook",
    "__interactivehook__",
)


def _ours(hook: Any) -> bool:
    return (home_of(hook) or "").startswith("codevault")


def _put_hooks(held: list[Any], before: tuple[Any, ...]) -> None:
    held[:] = [hook for hook in held if _ours(hook)] + list(before)


def _theirs(held: list[Any]) -> tuple[Any, ...]:
    return tuple(hook for hook in held if not _ours(hook))


def _read_streams(_: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("stdin", "stdout", "stderr"):
        stream = found[name] = getattr(sys, name)
        found[f"{name}'s encoding"] = getattr(stream, "encoding", None)
        found[f"{name}'s buffering"] = getattr(stream, "line_buffering", None)
    return found


def _put_stream(_: Any, name: str, value: Any) -> None:
    stream, _, quality = name.partition("'s ")
    if not quality:
        setattr(sys, stream, value)
    elif quality == "encoding":
        getattr(sys, stream).reconfigure(encoding=value)
    else:
        getattr(sys, stream).reconfigure(line_buffering=value)


_LIMITS: Final = {
    "recursion limit": ("sys", "getrecursionlimit", "setrecursionlimit"),
    "switch interval": ("sys", "getswitchinterval", "setswitchinterval"),
    "dlopen flags": ("sys", "getdlopenflags", "setdlopenflags"),
    "digits of an int": ("sys", "get_int_max_str_digits", "set_int_max_str_digits"),
    "stack of new threads": ("threading", "stack_size", "stack_size"),
}
"""By name: the module, its getter and its setter; not every platform has them all."""


def _read_limits(_: Any) -> dict[str, Any]:
    getters = {n: getattr(sys.modules[m], get, None) for n, (m, get, _) in _LIMITS.items()}
    return {name: get() for name, get in getters.items() if get is not None}


def _put_limit(_: Any, name: str, value: Any) -> None:
    module, _, put = _LIMITS[name]
    getattr(sys.modules[module], put)(value)


def _read_collector(gc: Any) -> dict[str, Any]:
    # Not what is frozen: Python walks through all of it to tell how much that is.
    return {
        "enabled": gc.isenabled(),
        "threshold": gc.get_threshold(),
        "debug": gc.get_debug(),
        "callbacks": tuple(gc.callbacks),
    }


def _put_collector(gc: Any, name: str, value: Any) -> None:
    if name == "enabled":
        (gc.enable if value else gc.disable)()
    elif name == "threshold":
        gc.set_threshold(*value)
    elif name == "debug":
        gc.set_debug(value)
    else:
        gc.callbacks[:] = value


def _read_threads(_: Any) -> dict[Any, Any]:
    """By thread: what runs in it. `_target` is gone once the thread has ended."""
    threads = [thread for thread in threading.enumerate() if thread.is_alive()]
    return {thread.ident: getattr(thread, "_target", None) or type(thread) for thread in threads}


def _read_modules(_: Any) -> dict[str, Any]:
    return sys.modules.copy()


def _put_module(_: Any, name: str, module: Any) -> None:
    if module is ABSENT:
        sys.modules.pop(name, None)
    else:
        sys.modules[name] = module


def _replaced(before: dict[str, Any], after: dict[str, Any]) -> Any:
    """Modules that are others than before; new ones are what a load is for.

    `after` is `sys.modules` itself: a copy of the modules of hundreds of versions takes a while. If
    each module stands where it stood, so do their names.
    """
    try:
        kept = len(after) >= len(before)
        if kept and all(map(operator.is_, before.values(), after.values())):
            return
    except RuntimeError:  # another thread imports meanwhile
        pass
    for name, module in before.items():
        if after.get(name) is not module and not name.startswith("_splint_"):
            yield Change(name, module, after.get(name, ABSENT))


CHECKS: Final[tuple[Check, ...]] = (
    setting(
        "sys.path",
        _AREA,
        "sys",
        lambda sys: tuple(sys.path),
        lambda sys, before: sys.path.__setitem__(slice(None), before),
        blame=(r"sys\.path\b", r"\baddsitedir\b", r"from sys import .*\bpath\b"),
    ),
    setting(
        "sys.meta_path",
        _AREA,
        "sys",
        lambda sys: _theirs(sys.meta_path),
        lambda sys, before: _put_hooks(sys.meta_path, before),
        blame=(r"\bmeta_path\b",),
    ),
    setting(
        "sys.path_hooks",
        _AREA,
        "sys",
        lambda sys: _theirs(sys.path_hooks),
        lambda sys, before: _put_hooks(sys.path_hooks, before),
        blame=(r"\bpath_hooks\b",),
    ),
    Check(
        MODULES,
        _AREA,
        "sys",
        _read_modules,
        _put_module,
        "always",
        (r"modules\s*\[\s*['\"]{key}['\"]", r"modules\.\w+\(\s*['\"]{key}['\"]"),
        diff=_replaced,
        again=lambda _: sys.modules,
    ),
    setting(
        "sys.argv",
        _AREA,
        "sys",
        lambda sys: tuple(sys.argv),
        lambda sys, before: sys.argv.__setitem__(slice(None), before),
        blame=(r"\bargv\b",),
        hidden=True,
    ),
    attributes("exception hooks", _AREA, "sys", *_HOOKS, blame=(r"\b{key}\b",)),
    attributes(
        "hooks of threads",
        _AREA,
        "threading",
        "excepthook",
        "_trace_hook",
        "_profile_hook",
        blame=(),
    ),
    setting("trace function", _AREA, "sys", lambda s: s.gettrace(), lambda s, v: s.settrace(v)),
    setting(
        "profile function", _AREA, "sys", lambda s: s.getprofile(), lambda s, v: s.setprofile(v)
    ),
    attributes(
        "writing of byte code", _AREA, "sys", "dont_write_bytecode", "pycache_prefix", blame=()
    ),
    Check(
        "standard streams",
        _AREA,
        "sys",
        _read_streams,
        _put_stream,
        blame=(r"\b(stdout|stderr|stdin)\b",),
    ),
    Check("interpreter limits", _AREA, "sys", _read_limits, _put_limit),
    Check("garbage collector", _AREA, "gc", _read_collector, _put_collector, blame=(r"\bgc\.",)),
    setting("exit functions", _AREA, "atexit", lambda a: a._ncallbacks(), blame=(r"\batexit\b",)),
    Check(
        "threads",
        _AREA,
        "threading",
        _read_threads,
        blame=(r"\b[Tt]hread", r"Executor", r"\bTimer\b"),
    ),
    setting(
        "fault handler",
        _AREA,
        "faulthandler",
        lambda f: f.is_enabled(),
        lambda f, before: f.enable() if before else f.disable(),
        fresh=False,
    ),
    entries(
        "copyreg reducers",
        _AREA,
        "copyreg",
        lambda c: c.dispatch_table,
        alters="replaced",
        blame=(),
    ),
    entries(
        "copyreg extension codes",
        _AREA,
        "copyreg",
        lambda c: c._extension_registry,
        blame=(r"\badd_extension\b",),
    ),
    Check(
        "names in builtins",
        _AREA,
        "builtins",
        lambda b: {name: value for name, value in vars(b).items() if name != "_"},
        lambda b, name, value: delattr(b, name) if value is ABSENT else setattr(b, name, value),
        "replaced",
        (r"builtins.*\b{key}\b",),
    ),
)
