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
import re
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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
    edits, frames = _edits(data, f"{splint}.".encode(), memoized)
    edits += [frame.without(edits) for frame in frames]
    parts, done = [], 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        parts += [data[done : edit.start], edit.new]
        done = edit.end
    return b"".join([*parts, data[done:]])


@dataclass(frozen=True, slots=True)
class _Edit:
    """The bytes from `start` to `end` become `new`."""

    start: int
    end: int
    new: bytes


@dataclass(frozen=True, slots=True)
class _Frame:
    """A length, and as many bytes behind it."""

    start: int
    length: int

    def without(self, edits: list[_Edit]) -> _Edit:
        """The length once these are made."""
        begin = self.start + 8
        inside = [e for e in edits if begin <= e.start < begin + self.length]
        less = sum(e.end - e.start - len(e.new) for e in inside)
        return _Edit(self.start, begin, (self.length - less).to_bytes(8, "little"))


_SIZES: Final = {"\x8c": 1, "X": 4, "\x8d": 8, "C": 1, "B": 4, "\x8e": 8, "\x96": 8}
_LENGTHS: Final = {ord(op): n for op, n in {**_SIZES, "U": 1, "T": 4, "\x8a": 1, "\x8b": 4}.items()}
"""Operations with as many bytes of length in front of their argument."""
_TEXTS: Final = frozenset(b"\x8cX\x8d")
_TOLD: Final = frozenset("pgqrhjci\x93\x94\x95")
"""Operations that are looked at one by one: of the memo, of globals, and frames."""


@functools.cache
def _others() -> re.Pattern[bytes]:
    """As many operations as possible that do nothing here, whatever they are."""
    fixed: dict[int, bytes] = {}
    lines = b""
    for op in pickletools.opcodes:
        if op.code not in _TOLD and ord(op.code) not in _LENGTHS:
            n = 0 if op.arg is None else op.arg.n
            if n < 0:
                lines += re.escape(op.code.encode("latin-1"))
            else:
                fixed[n] = fixed.get(n, b"") + re.escape(op.code.encode("latin-1"))
    ways = [b"[%b].{%d}" % (codes, n) for n, codes in fixed.items()]
    return re.compile(b"(?s:%b|[%b][^\\n]*\\n)++" % (b"|".join(ways), lines))


def _edits(data: bytes, start: bytes, memoized: int) -> tuple[list[_Edit], list[_Frame]]:
    """Shorter names for the modules that globals are looked up in; and where frames are."""
    others = _others()
    edits: dict[int, _Edit] = {}
    frames: list[_Frame] = []
    memo: dict[int, _Edit] = {}
    before: _Edit | None = None  # of the two newest objects on the stack, those with the name
    newest: _Edit | None = None
    at, count, end = 0, memoized, len(data)
    while at < end:
        run = others.match(data, at)
        if run is not None:
            at, before, newest = run.end(), None, None
            if at == end:
                break
        op = data[at]
        at += 1
        if op in _LENGTHS:
            head = at + _LENGTHS[op]
            length = int.from_bytes(data[at:head], "little")
            before, newest = newest, None
            if op in _TEXTS and data.startswith(start, head):
                shown = _text(data[head + len(start) : head + length])
                newest = _Edit(at - 1, head + length, shown)
            at = head + length
        elif op == 0x94:  # MEMOIZE
            if newest is not None:
                memo[count] = newest
            count += 1
        elif op in b"qr":  # BINPUT, LONG_BINPUT
            head = at + (1 if op == 0x71 else 4)
            _keep(memo, int.from_bytes(data[at:head], "little"), newest)
            at = head
        elif op in b"hj":  # BINGET, LONG_BINGET
            head = at + (1 if op == 0x68 else 4)
            before, newest = newest, memo.get(int.from_bytes(data[at:head], "little"))
            at = head
        elif op in b"pg":  # PUT, GET
            head = data.index(b"\n", at) + 1
            place = int(data[at:head])
            if op == 0x70:
                _keep(memo, place, newest)
            else:
                before, newest = newest, memo.get(place)
            at = head
        elif op == 0x93:  # STACK_GLOBAL
            if before is not None:
                edits[before.start] = before
            before = newest = None
        elif op in b"ci":  # GLOBAL, INST
            head = data.index(b"\n", data.index(b"\n", at) + 1) + 1
            if op == 0x63 and data.startswith(start, at):
                edits[at] = _Edit(at, at + len(start), b"")
            before, newest, at = newest, None, head
        else:  # FRAME
            frames.append(_Frame(at, int.from_bytes(data[at : at + 8], "little")))
            at += 8
    return list(edits.values()), frames


def _keep(memo: dict[int, _Edit], place: int, newest: _Edit | None) -> None:
    if newest is None:
        memo.pop(place, None)
    else:
        memo[place] = newest


def _text(value: bytes) -> bytes:
    if len(value) < 256:
        return b"\x8c" + bytes([len(value)]) + value
    return b"X" + len(value).to_bytes(4, "little") + value
