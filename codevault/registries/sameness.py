"""Whether two registered things are the same code: functions, and all that they reach by name.

Equal code objects are not enough: a helper or a constant beside the function decides as well. So
global names, closures, defaults, imports inside functions and own classes are followed, as far as
they differ at all; what is one object for both is equal. What cannot be compared counts as
different, so that nobody runs another's code by mistake.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from types import (
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    UnionType,
)
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import codevault_importhook as hook
from codevault.registries.codeform import plain
from codevault.registries.ledger import Unreadable
from codevault.registries.modulecode import Source
from codevault.registries.reach import (
    Pair,
    Steps,
    functions,
    modules,
    sources,
    unequal,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLAIN: Final = frozenset(
    {
        *(bool, int, float, complex, bytes, type(None), type(Ellipsis), range, slice),
        *(TypeVar, ParamSpec),
    }
)
"""Types whose values say all of themselves; an object of a subclass may hold more."""
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
        yield from functions(pair)
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
    kind = type(a)
    if kind is str:
        if plain(a) != plain(b):
            yield unequal(a, b, where)
    elif kind in _PLAIN:
        if repr(a) != repr(b):
            yield unequal(a, b, where)
    elif kind in (list, tuple):
        yield from _sequences(a, b, where)
    elif kind in (set, frozenset):
        yield from _sequences(sorted(a, key=_order), sorted(b, key=_order), where)
    elif kind in (dict, MappingProxyType):
        yield from _sequences(list(a), list(b), f"{where}'s keys")  # their order can be seen
        for one, other in zip(a, b, strict=False):
            yield Pair(a[one], b[other], f"{where}[{one!r}]")
    elif isinstance(a, logging.Logger):
        if plain(a.name) != plain(b.name):
            yield unequal(a, b, where)
    elif not isinstance(a, _LOCKS):
        yield from objects(a, b, where)


def _sequences(a: Sequence[Any], b: Sequence[Any], where: str) -> Steps:
    if len(a) != len(b):
        yield f"{where} has {len(a)} items in one and {len(b)} in the other"
    for place, (one, other) in enumerate(zip(a, b, strict=False)):
        yield Pair(one, other, f"{where}[{place}]")


def _order(value: Any) -> str:
    """By names where there are some: what classes and functions tell of themselves changes."""
    name = getattr(value, "__qualname__", None) or repr(value)
    return f"{type(value).__name__} {plain(name)}"


_NOT_CODE: Final = frozenset(
    {
        *("__module__", "__qualname__", "__name__", "__doc__", "__dict__", "__weakref__"),
        *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__"),
        *("__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl"),
        *("__pydantic_core_schema__", "__pydantic_serializer__", "__pydantic_validator__"),
        "__pydantic_decorators__",
    }
)
"""Members that run nothing, or are made of the others."""


def classes(a: type, b: type, where: str) -> Steps:
    """Two classes of one name with equal bases and members."""
    if a is b:
        return
    if (hook.strip(a.__module__), a.__qualname__) != (hook.strip(b.__module__), b.__qualname__):
        yield f"{where} is of {a.__qualname__} in one and of {b.__qualname__} in the other"
    yield Pair(a.__bases__, b.__bases__, f"{where}'s bases")
    yield Pair(type(a), type(b), f"{where}'s class")
    yield Pair(_members(a), _members(b), where)


def _members(cls: type) -> dict[str, Any]:
    return {name: vars(cls)[name] for name in sorted(vars(cls).keys() - _NOT_CODE)}


def objects(a: Any, b: Any, where: str) -> Steps:
    """Two objects of one type, by what they are made of; as a pickle would take them apart."""
    if isinstance(a, MethodType):
        yield Pair(a.__func__, b.__func__, where)
        yield Pair(a.__self__, b.__self__, f"{where}'s object")
    elif isinstance(a, staticmethod | classmethod):
        yield Pair(a.__func__, b.__func__, where)
    elif isinstance(a, property):
        yield Pair((a.fget, a.fset, a.fdel), (b.fget, b.fset, b.fdel), where)
    elif isinstance(a, UnionType):
        yield Pair(a.__args__, b.__args__, where)
    elif isinstance(a, MemberDescriptorType):
        if a.__name__ != b.__name__:
            yield unequal(a, b, where)
    elif "torch" in sys.modules and isinstance(a, sys.modules["torch"].Tensor):
        if not _equal_tensors(a, b):
            yield f"{where} is a tensor with other content"
    elif (parts := _parts(a)) is not None:
        yield Pair(parts, _parts(b), where)
    elif not _equal(a, b):
        inner = next((n for n in _AROUND if isinstance(getattr(a, n, None), FunctionType)), None)
        if inner is None:
            yield f"{where} is a {type(a).__qualname__}, which cannot be compared"
        else:
            yield Pair(getattr(a, inner), getattr(b, inner, None), where)


_AROUND: Final = ("__wrapped__", "fn")
"""Where caches, and kernels of compilers such as triton's, keep the function they are made of."""


def _parts(thing: Any) -> list[Any] | None:
    try:
        parts = thing.__reduce_ex__(2)
    except Exception:  # whatever an object's own reduction raises
        return None
    if not isinstance(parts, tuple):
        return None  # a name, which says nothing about the code behind it
    return [list(part) if hasattr(part, "__next__") else part for part in parts]


def _equal_tensors(a: Any, b: Any) -> bool:
    import torch

    try:
        alike = (a.dtype, a.device, a.shape, a.requires_grad) == (
            *(b.dtype, b.device),
            *(b.shape, b.requires_grad),
        )
        both = [t.detach().reshape(-1).view(torch.uint8) for t in (a, b)]
        return alike and torch.equal(*both)
    except RuntimeError:  # sparse, meta and quantized ones
        return False


def _equal(a: Any, b: Any) -> bool:
    try:
        return type(a) is type(b) and (a == b) is True
    except Exception:  # whatever an object's own comparison raises
        return False
