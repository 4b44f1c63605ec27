"""The code of modules as it was compiled: for what is not defined yet, or not imported yet."""

from __future__ import annotations

import os
import sys
import warnings
from functools import lru_cache
from importlib.machinery import PathFinder
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

from codevault.registries.codeform import form, nested
from codevault_importhook import registry, specs
from codevault_importhook.naming import PREFIX
from codevault_importhook.processlock import changing
from codevault_importhook.rewrite import compile_module

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codevault_importhook import Mount
    from codevault_importhook.rewrite import Rules


def same(first: CodeType, in_first: str, second: CodeType, in_second: str) -> bool:
    """Whether two code objects do the same; `in_…` are the names of their modules.

    The application's code is compiled as the snapshot's is where that changes it: the import
    statements of a snapshot's functions carry its name.
    """
    if form(first) == form(second):
        return True
    if in_first.startswith(PREFIX) == in_second.startswith(PREFIX):
        return False
    if in_second.startswith(PREFIX):
        first, in_first, second, in_second = second, in_second, first, in_first
    mount = registry.get(in_first)
    twin = None if mount is None else _as_mounted(second, mount)
    return twin is not None and form(first) == form(twin)


def _as_mounted(code: CodeType, mount: Mount) -> CodeType | None:
    """The application's code as a snapshot has it; None if its file holds other code by now."""
    try:
        stamp = os.stat(code.co_filename)
        of_mount = (mount.rules, mount.name)
        found = _compiled(code.co_filename, stamp.st_mtime_ns, stamp.st_size, *of_mount)
    except (OSError, SyntaxError, ValueError):
        return None
    plain, mounted = found
    place = _place(code)
    if place not in plain or place not in mounted or form(plain[place]) != form(code):
        return None
    return mounted[place]


Places = dict[tuple[str, int], CodeType]


@lru_cache(maxsize=8)
def _compiled(
    filename: str, mtime: int, size: int, rules: Rules, name: str
) -> tuple[Places, Places]:
    """A file's code objects by their place, compiled plainly and as a mount's.

    The mount itself is no argument: what is remembered would keep it alive.
    """
    with open(filename, "rb") as file:
        source = file.read()
    with changing(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = compile(source, filename, "exec", dont_inherit=True)
        mounted = compile_module(source, filename, rules, name)
    return _places(plain), _places(mounted)


def _place(code: CodeType) -> tuple[str, int]:
    return code.co_qualname, code.co_firstlineno


def _places(code: CodeType) -> Places:
    found = nested(code)
    places = [_place(inner) for inner in found]
    return {p: inner for p, inner in zip(places, found, strict=True) if places.count(p) == 1}


class Source(NamedTuple):
    """A module as it was compiled, whether it was imported or not.

    Attributes:
        name: As in `sys.modules`.
        package: Against which its relative imports are read.
        code: The whole module's.
    """

    name: str
    package: str
    code: CodeType


def of_module(name: str, space: Mapping[str, Any] | None = None) -> Source | None:
    """The code of a module that is loaded, is being executed, or could be imported; it is not.

    Args:
        name: As in `sys.modules`.
        space: Its globals, if it is loaded.
    """
    frame = sys._getframe(1) if space is not None else None  # noqa: SLF001
    while frame is not None:
        if frame.f_globals is space and frame.f_code.co_name == "<module>":
            return Source(name, space.get("__package__") or "", frame.f_code)
        frame = frame.f_back
    mount = registry.get(name)
    spec = _spec(name, mount)
    if spec is None:
        return None
    try:
        found = spec.loader.get_code(name) if mount is None else mount.code(spec.loader_state)
    except (AttributeError, ImportError, LookupError, OSError, TypeError, ValueError):
        return None  # compiled, or a namespace package
    return Source(name, spec.parent or "", found) if isinstance(found, CodeType) else None


def _spec(name: str, mount: Mount | None) -> Any:
    """The spec of a module, found without importing what stands above it."""
    parts = name.split(".")
    start = 1 if mount is None else 2  # behind the splint's own name
    path = None if mount is None else mount.locations()
    spec: Any = None
    for end in range(start, len(parts) + 1):
        inner = ".".join(parts[:end])
        spec = getattr(sys.modules.get(inner), "__spec__", None)
        if spec is None and mount is None:
            spec = PathFinder.find_spec(inner, path)
        elif spec is None and mount is not None:
            spec = specs.find(mount, inner, path)
        if spec is None:
            return None
        locations = spec.submodule_search_locations
        path = list(getattr(locations, "_path", locations) or ())  # `_path` asks no parent
    return spec


def defined(code: CodeType, name: str) -> CodeType | None:
    """The function that a module's code defines under a name; None unless it is exactly one."""
    found = [c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == name]
    return found[0] if len(found) == 1 else None
