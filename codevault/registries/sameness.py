"""Whether two registered things are the same code: functions, and all that they reach by name.

Equal code objects are not enough: a helper or a constant beside the function decides as well. So
global names, closures, defaults, imports inside functions and own classes are followed, as far as
they differ at all; what is one object for both is equal. What cannot be compared counts as
different, so that nobody runs another's code by mistake.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from types import FunctionType, MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from codevault.registries.anatomy import classes, objects
from codevault.registries.codeform import plain
from codevault.registries.modulecode import Source
from codevault.registries.pair import Pair, Steps, Unreadable, unequal
from codevault.registries.reach import functions, modules, sources

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN: Final = (int, float, complex, bytes, type(None), type(Ellipsis), range, slice)
_LOCKS: Final = (type(threading.Lock()), type(threading.RLock()))
_MOST: Final = 20_000
"""Pairs that are looked at; beyond it, two things are too large to compare."""


def difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> str | None:
    """Where two registrations differ, in words; None if they are equal.

    Args:
        first: What is registered: the name of each part to the function or value.
        second: What is about to be.
    """
    waiting = deque(Pair(first.get(k), second.get(k), k) for k in {**first, **second})
    seen: dict[tuple[int, int, frozenset[str]], Pair] = {}
    while waiting:
        pair = waiting.popleft()
        key = id(pair.first), id(pair.second), pair.attributes
        if pair.first is pair.second or key in seen:
            continue
        seen[key] = pair  # held, so that ids stay theirs
        if len(seen) > _MOST:
            return "they are too large to compare"
        for step in _steps(pair):
            if isinstance(step, str):
                return step
            waiting.append(step)
    return None


def _steps(pair: Pair) -> Steps:
    a, b, where, _ = pair
    if a is Unreadable or b is Unreadable:
        yield f"{where} was registered before codevault was used, and cannot be read back"
    elif isinstance(a, FunctionType) and isinstance(b, FunctionType):
        yield from functions(a, b, where)
    elif isinstance(a, type) and isinstance(b, type):
        yield from classes(a, b, where)
    elif isinstance(a, Source) and isinstance(b, Source):
        yield from sources(a, b, where)
    elif isinstance(a, ModuleType) and isinstance(b, ModuleType):
        yield from modules(pair)
    else:
        if type(a) is not type(b):
            yield from classes(type(a), type(b), where)
        yield from _values(a, b, where)


def _values(a: Any, b: Any, where: str) -> Steps:
    if isinstance(a, str):
        if plain(a) != plain(b):
            yield unequal(a, b, where)
    elif isinstance(a, _PLAIN):
        if repr(a) != repr(b):
            yield unequal(a, b, where)
    elif isinstance(a, list | tuple | deque):
        yield from _sequences(list(a), list(b), where)
    elif isinstance(a, set | frozenset):
        yield from _sequences(sorted(a, key=_order), sorted(b, key=_order), where)
    elif isinstance(a, dict | MappingProxyType):
        keys, others = (sorted(mapping, key=_order) for mapping in (a, b))
        yield from _sequences(keys, others, f"{where}'s keys")
        for one, other in zip(keys, others, strict=False):
            yield Pair(a[one], b[other], f"{where}[{one!r}]")
    elif isinstance(a, logging.Logger):
        if plain(a.name) != plain(b.name):
            yield unequal(a, b, where)
    elif not isinstance(a, _LOCKS):
        yield from objects(a, b, where)


def _sequences(a: list[Any], b: list[Any], where: str) -> Steps:
    if len(a) != len(b):
        yield f"{where} has {len(a)} items in one and {len(b)} in the other"
    for place, (one, other) in enumerate(zip(a, b, strict=False)):
        yield Pair(one, other, f"{where}[{place}]")


def _order(value: Any) -> str:
    return f"{type(value).__name__} {plain(repr(value))}"
