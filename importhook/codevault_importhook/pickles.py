"""Pickles that old code reads and writes: in them its classes have their original names.

Written so, a pickle is what the old code alone would have written; read so, its names mean the
old code's classes. What a library pickles on its own (to send it to a worker, say) keeps the
splint's name, by which every process finds it.
"""

from __future__ import annotations

import functools
import io
import pickle
import pickletools
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from codevault_importhook.mount import Mount


def module(mount: Mount) -> ModuleType:
    """A `pickle` for one mount, also as the `pickle_module` that libraries ask for."""
    made = ModuleType("pickle", pickle.__doc__)
    made.__dict__.update({name: getattr(pickle, name) for name in pickle.__all__})
    unpickler: Any = _unpickler(mount)
    pickler: Any = _pickler(mount)

    @functools.wraps(pickle.load)
    def load(file: Any, **options: Any) -> Any:
        return unpickler(file, **options).load()

    @functools.wraps(pickle.loads)
    def loads(data: Any, /, **options: Any) -> Any:
        return load(io.BytesIO(data), **options)

    @functools.wraps(pickle.dump)
    def dump(obj: Any, file: Any, protocol: Any = None, **options: Any) -> None:
        pickler(file, protocol, **options).dump(obj)

    @functools.wraps(pickle.dumps)
    def dumps(obj: Any, protocol: Any = None, **options: Any) -> bytes:
        return with_original_names(pickle.dumps(obj, protocol, **options), mount.name)

    made.__dict__.update(
        load=load, loads=loads, dump=dump, dumps=dumps, Pickler=pickler, Unpickler=unpickler
    )
    return made


def _unpickler(mount: Mount) -> type:
    class Unpickler(pickle.Unpickler):
        __doc__ = pickle.Unpickler.__doc__
        __module__ = "pickle"

        def find_class(self, module: str, name: str) -> Any:
            return super().find_class(mount.inside(module), name)

    return Unpickler


def _pickler(mount: Mount) -> type:
    class Pickler(pickle.Pickler):
        __doc__ = pickle.Pickler.__doc__
        __module__ = "pickle"

        def __init__(self, file: Any, *args: Any, **options: Any) -> None:
            self._file, self._buffer = file, io.BytesIO()
            super().__init__(self._buffer, *args, **options)

        def dump(self, obj: Any) -> None:
            before = len(self.memo.copy())  # of what was dumped before to the same file
            self._buffer.seek(0)
            self._buffer.truncate()
            super().dump(obj)
            data = self._buffer.getvalue()
            self._file.write(with_original_names(data, mount.name, before))

    return Pickler


def with_original_names(data: bytes, splint: str, memoized: int = 0) -> bytes:
    """A pickle in which the classes and functions of one splint stand under their original names.

    Only names of modules that objects are looked up in change; text that objects hold does not.

    Args:
        data: One whole pickle, of any protocol.
        splint: The name of the mount.
        memoized: How many objects the pickler remembered from earlier pickles of the same file.
    """
    if splint.encode() not in data:
        return data
    ops = _operations(data)
    edits = list(_names(ops, f"{splint}.", memoized))
    parts, done = [], 0
    for edit in sorted([*edits, *_frames(ops, edits)], key=lambda edit: edit.start):
        parts += [data[done : edit.start], edit.new]
        done = edit.end
    return b"".join([*parts, data[done:]])


@dataclass(frozen=True, slots=True)
class _Operation:
    name: str
    pushes: bool
    value: Any
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Edit:
    """The bytes from `start` to `end` become `new`."""

    start: int
    end: int
    new: bytes


def _operations(data: bytes) -> list[_Operation]:
    found = list(pickletools.genops(data))
    ends = [cast("int", start) for _, _, start in found[1:]] + [len(data)]
    return [
        _Operation(op.name, bool(op.stack_after), value, cast("int", start), end)
        for (op, value, start), end in zip(found, ends, strict=True)
    ]


_TEXTS: Final = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")


def _names(operations: list[_Operation], start: str, memoized: int) -> Iterator[_Edit]:
    """Shorter names for the modules that globals are looked up in."""
    memo: dict[int, _Operation | None] = {}
    before: _Operation | None = None  # the two newest objects on the stack, if they are texts
    newest: _Operation | None = None
    looked_up: dict[int, _Operation] = {}
    for op in operations:
        if op.name == "MEMOIZE":
            memo[memoized + len(memo)] = newest
        elif op.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[op.value] = newest
        elif op.name in ("GET", "BINGET", "LONG_BINGET"):
            before, newest = newest, memo.get(op.value)
        elif op.name in _TEXTS:
            before, newest = newest, op
        elif op.name == "STACK_GLOBAL":
            if before is not None and before.value.startswith(start):
                looked_up[before.start] = before
            before, newest = None, None
        elif op.name == "GLOBAL" and op.value.startswith(start):
            module, _, name = op.value[len(start) :].partition(" ")
            yield _Edit(op.start, op.end, f"c{module}\n{name}\n".encode())
            before, newest = newest, None
        elif op.pushes and op.name != "FRAME":
            before, newest = newest, None
    for op in looked_up.values():
        yield _Edit(op.start, op.end, _text(op.value[len(start) :].encode()))


def _text(value: bytes) -> bytes:
    if len(value) < 256:
        return b"\x8c" + bytes([len(value)]) + value
    return b"X" + len(value).to_bytes(4, "little") + value


def _frames(operations: list[_Operation], edits: list[_Edit]) -> Iterator[_Edit]:
    """New lengths for the frames in which something changed."""
    for frame in operations:
        if frame.name == "FRAME":
            inside = [e for e in edits if frame.end <= e.start < frame.end + frame.value]
            less = sum(e.end - e.start - len(e.new) for e in inside)
            yield _Edit(frame.start + 1, frame.end, (frame.value - less).to_bytes(8, "little"))
