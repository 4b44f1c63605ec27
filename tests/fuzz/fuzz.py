"""A small fuzzer guided by the lines that a reader runs; what reached new ones is the corpus."""

from __future__ import annotations

import hashlib
import random
import sys
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.fuzz.targets import ERRORS, TARGETS, Target

if TYPE_CHECKING:
    from types import FrameType

CORPUS: Final = Path(__file__).parent / "corpus"
LONGEST: Final = 1 << 16
BYTES: Final = 32 << 20
"""Memory that a reader may take for any input of that length."""

_PIECES: Final = (
    b"", b"0", b"-1", b"9" * 30, b"null", b"[]", b"{}", b"[" * 500, b'"', b"\\ud800", b"\0", b"\n",
    b"\xff\xfe", b"../", b"/", b"100644 ", b"120000 ", b"a" * 5000, b"1e999", b'"a":', b",",
)  # fmt: skip


def corpus(name: str) -> list[bytes]:
    """The inputs that are kept for a target, its seeds first."""
    kept = sorted((CORPUS / name).glob("*")) if (CORPUS / name).is_dir() else []
    return [*TARGETS[name].seeds, *(path.read_bytes() for path in kept)]


def mutated(choose: random.Random, known: list[bytes]) -> bytes:
    """An input made of known ones: bytes flipped, cut, repeated, spliced, pieces put in."""
    data = bytearray(choose.choice(known))
    for _ in range(choose.choice((1, 1, 2, 4))):
        at, to = sorted(choose.randrange(len(data) + 1) for _ in range(2))
        kind = choose.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << choose.randrange(8)
        elif kind == 1:
            del data[at:to]
        elif kind == 2:
            data[at:at] = data[at:to] * choose.choice((1, 1, 50))
        elif kind == 3:
            data[at:to] = choose.choice(_PIECES)
        elif kind == 4:
            data[at:at] = choose.choice(_PIECES)
        else:
            other = choose.choice(known)
            data[at:] = other[choose.randrange(len(other) + 1) :]
    return bytes(data[:LONGEST])


def holds(target: Target, data: bytes) -> None:
    """Read once: it may refuse with one of the project's errors, and nothing else.

    Raises:
        AssertionError: It read what nobody writes.
        Exception: Any error that is not the project's.
    """
    try:
        target.read(data)
    except ERRORS as error:
        if len(str(error)) > 20_000:
            raise AssertionError("an error repeats its input") from None


def lines(target: Target, data: bytes) -> frozenset[int]:
    """The lines of the reader's module that an input reaches."""
    file, reached = target.module.__file__, set()

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        reached.add(frame.f_lineno)
        return local

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        return local if frame.f_code.co_filename == file else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        holds(target, data)
    finally:
        sys.settrace(before)
    return frozenset(reached)


def run(name: str, seconds: float, seed: int) -> tuple[int, int]:
    """Fuzz one target; an input that reaches a new line joins the corpus.

    Returns:
        How many inputs were tried, and how many are new.

    Raises:
        AssertionError: An input broke the reader; it is in the corpus now.
    """
    target, choose = TARGETS[name], random.Random(seed)
    known = corpus(name)
    seen = frozenset[int]().union(*(lines(target, data) for data in known))
    tried = found = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(choose, known)
        tried += 1
        try:
            new = lines(target, data) - seen
        except Exception as error:
            keep(name, data)
            what = f"{name}: {type(error).__name__}: {error}"
            raise AssertionError(f"{what}: {data[:200]!r}") from error
        if new:
            seen |= new
            known.append(data)
            found += 1
            keep(name, data)
    return tried, found


def keep(name: str, data: bytes) -> None:
    """Put an input into the corpus."""
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)


def peak(target: Target, data: bytes) -> int:
    """The memory that reading takes at most, in bytes."""
    tracemalloc.start()
    try:
        holds(target, data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def main(seconds: float = 10.0) -> None:
    """Fuzz every target for some seconds, and print what was tried."""
    seed = time.time_ns()
    for name in TARGETS:
        tried, found = run(name, seconds, seed)
        print(f"{name:<10} {tried:7} inputs, {found} new in the corpus (seed {seed})", flush=True)
