"""Tells whether two objects that the same code built hold the same, in every attribute and tensor.

Both are written down as pickle would, past methods that leave attributes out, and with tensors
apart; then the two texts and the tensors are compared. What cannot be written down counts as
different, so the answer errs on that side only.
"""

from __future__ import annotations

import io
import marshal
import pickle
import weakref
from types import FunctionType, ModuleType
from typing import Any

import torch


def alike(one: Any, other: Any) -> bool:
    """Whether nothing tells the two apart: values, types, shared objects and shared memory."""
    try:
        (text, tensors), (other_text, others) = _written(one), _written(other)
        same = text == other_text and len(tensors) == len(others)
        return same and all(map(_is_same, tensors, others))
    except Exception:  # whatever old code's objects do when they are looked at
        return False


def _written(thing: Any) -> tuple[bytes, list[torch.Tensor]]:
    text = io.BytesIO()
    pickler = _Writer(text)
    pickler.dump(thing)
    done = 0
    while done < len(pickler.tensors):  # attributes of tensors may hold further tensors
        new, done = pickler.tensors[done:], len(pickler.tensors)
        pickler.dump([(vars(t), t._backward_hooks, t.grad) for t in new])  # noqa: SLF001
    pickler.dump(_memory(pickler.tensors))
    return text.getvalue(), pickler.tensors


class _Writer(pickle.Pickler):
    """Writes tensors as their number, and objects with all of their attributes."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self.tensors: list[torch.Tensor] = []
        self._numbers: dict[int, int] = {}
        self._words: dict[str, str] = {}

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, str):  # which equal strings are one object is the interpreter's affair
            return self._words.setdefault(obj, obj)
        if isinstance(obj, torch.Tensor):
            if id(obj) not in self._numbers:
                self._numbers[id(obj)] = len(self.tensors)
                self.tensors.append(obj)
            return "tensor", self._numbers[id(obj)]
        return ("module", obj.__name__) if isinstance(obj, ModuleType) else None

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, weakref.ReferenceType):
            return _seen, ("weak reference",), obj()
        if isinstance(obj, FunctionType) and "<" in obj.__qualname__:
            inside = [cell.cell_contents for cell in obj.__closure__ or ()]
            said = (obj.__module__, obj.__qualname__, marshal.dumps(obj.__code__))
            return _seen, said, (inside, obj.__defaults__, obj.__kwdefaults__, vars(obj))
        cls: Any = type(obj)
        said_by_itself = any(
            getattr(cls, name) is not getattr(object, name)
            for name in ("__reduce__", "__reduce_ex__")
        )
        has_all = cls.__getstate__ is object.__getstate__
        if has_all or said_by_itself or isinstance(obj, type):
            return NotImplemented
        return _seen, (cls.__module__, cls.__qualname__), vars(obj)


def _seen(*names: Any) -> None:
    """Stands for what made an object; nothing is ever read back."""


def _memory(tensors: list[torch.Tensor]) -> list[tuple[int, Any]]:
    """For each tensor which earlier one has the same storage, and where in it it begins."""
    first: dict[int, int] = {}
    return [
        (first.setdefault(tensor.untyped_storage().data_ptr(), number), tensor.storage_offset())
        for number, tensor in enumerate(tensors)
    ]


def _is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return _kind(one) == _kind(other) and torch.equal(_bytes(one), _bytes(other))


def _kind(tensor: torch.Tensor) -> tuple[Any, ...]:
    flags = (tensor.requires_grad, tensor.is_leaf, tensor.is_conj(), tensor.is_neg())
    return type(tensor), tensor.dtype, tensor.device, tensor.size(), tensor.stride(), flags


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return plain.view(-1).view(torch.uint8) if plain.numel() else plain.view(-1)
