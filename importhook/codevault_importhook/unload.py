"""Takes a splint's modules out of the process and says who still holds parts of it."""

from __future__ import annotations

import gc
import linecache
import sys
import typing
import weakref
from types import FrameType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from codevault_importhook import registry

if TYPE_CHECKING:
    from codevault_importhook.mount import Mount

_CONTAINERS: Final = (dict, list, set, tuple)


def unload(mount: Mount) -> tuple[str, ...]:
    """Removes the modules of `mount`, collects garbage, and lists what is still alive.

    Returns:
        One line per module, class or function that is still held from outside, with its holders;
        empty if all of the old code is gone.
    """
    watched: list[tuple[str, weakref.ref[Any]]] = []
    start = mount.name + "."
    names = [n for n in list(sys.modules) if n == mount.name or n.startswith(start)]
    if names:
        registry.unloaded.add(mount.name)
    for name in names:
        module = sys.modules.pop(name)
        if getattr(module, "__name__", None) == name:
            watched += _watch(module)
        del module
    registry.discard(mount.name)
    top = mount.source.location("").rstrip("/")
    for cache in (linecache.cache, sys.path_importer_cache):
        for filename in [f for f in cache if f == top or f.startswith(top + "/")]:
            del cache[filename]
    for clear in getattr(typing, "_cleanups", ()):  # caches of `Optional[OldClass]` and the like
        clear()
    gc.collect()
    held = [(name, ref) for name, ref in watched if ref() is not None]
    holders = _Holders([ref() for _, ref in held])
    return tuple(f"{name} (held by {holders.of(ref())})" for name, ref in held)


def _watch(module: ModuleType) -> list[tuple[str, weakref.ref[Any]]]:
    parts: list[tuple[str, weakref.ref[Any]]] = [(module.__name__, weakref.ref(module))]
    for value in vars(module).values():
        if isinstance(value, type | FunctionType) and value.__module__ == module.__name__:
            parts.append((f"{value.__module__}.{value.__qualname__}", weakref.ref(value)))
    return parts


class _Holders:
    """Who refers to some objects, found by three passes over the heap however many they are."""

    def __init__(self, objects: list[Any]) -> None:
        self._direct = _referrers(objects)
        containers = [h for hs in self._direct.values() for h in hs if isinstance(h, _CONTAINERS)]
        self._outer = _referrers(containers)
        spaces = [h for hs in self._outer.values() for h in hs if isinstance(h, dict)]
        self._owners = _referrers(spaces)

    def of(self, value: object) -> str:
        """What a person can look for: `metta.compat.Policy.registry` rather than `dict`."""
        names = {self._name(holder) for holder in self._direct.get(id(value), ())}
        return ", ".join(sorted(names)[:5]) or "the interpreter"

    def _name(self, holder: Any) -> str:
        for space in self._outer.get(id(holder), ()):
            if isinstance(space, type | ModuleType):
                return _title(space)
            for owner in self._owners.get(id(space), ()):
                if isinstance(owner, type | ModuleType):
                    key = next((k for k, value in space.items() if value is holder), "?")
                    return f"{_title(owner)}.{key}"
        return _title(holder)


def _title(holder: Any) -> str:
    if isinstance(holder, ModuleType):
        return holder.__name__
    if isinstance(holder, type | FunctionType):
        return f"{holder.__module__}.{holder.__qualname__}"
    return f"a {type(holder).__qualname__}"


def _referrers(objects: list[Any]) -> dict[int, list[Any]]:
    """For each object, by its id, what refers to it; frames and lists of ours apart."""
    wanted = {id(value) for value in objects}
    found: dict[int, list[Any]] = {}
    for holder in gc.get_referrers(*objects) if objects else ():
        if holder is not objects and not isinstance(holder, FrameType | weakref.ref):
            for part in {id(part) for part in gc.get_referents(holder)} & wanted:
                found.setdefault(part, []).append(holder)
    return found
