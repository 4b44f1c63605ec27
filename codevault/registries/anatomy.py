"""What two classes, and two objects that are no plain values, must have equal."""

from __future__ import annotations

import sys
from types import FunctionType, MemberDescriptorType, MethodType
from typing import TYPE_CHECKING, Any, Final

import codevault_importhook as hook
from codevault.registries.pair import Pair, unequal

if TYPE_CHECKING:
    from codevault.registries.pair import Steps

_NOT_CODE: Final = frozenset(
    {
        *("__module__", "__qualname__", "__name__", "__doc__", "__dict__", "__weakref__"),
        *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__"),
        *("__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl"),
    }
)


def classes(a: type, b: type, where: str) -> Steps:
    """Two classes of one name with equal bases and members."""
    if a is b:
        return
    if (hook.strip(a.__module__), a.__qualname__) != (hook.strip(b.__module__), b.__qualname__):
        yield f"{where} is of {a.__qualname__} in one and of {b.__qualname__} in the other"
    yield Pair(a.__bases__, b.__bases__, f"{where}'s bases")
    yield Pair(type(a), type(b), f"{where}'s class")
    mine, its = ({k: v for k, v in vars(c).items() if k not in _NOT_CODE} for c in (a, b))
    yield Pair(mine, its, where)


def objects(a: Any, b: Any, where: str) -> Steps:
    """Two objects of one type, by what they are made of; as a pickle would take them apart."""
    if isinstance(a, MethodType):
        yield Pair(a.__func__, b.__func__, where)
        yield Pair(a.__self__, b.__self__, f"{where}'s object")
    elif isinstance(a, staticmethod | classmethod):
        yield Pair(a.__func__, b.__func__, where)
    elif isinstance(a, property):
        yield Pair((a.fget, a.fset, a.fdel), (b.fget, b.fset, b.fdel), where)
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
