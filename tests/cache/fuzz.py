"""A fuzz target for what strangers write: packs, trees and names.

Each input either is read, and then keeps what reading promises, or ends in an error of the cache.
Inputs that end in a new way are kept in `corpus/`, which the tests replay.

    python -m tests.cache.fuzz [--seconds 60] [--seed 0]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import posixpath
import random
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from codevault_cache import errors, gitobjects, received
from codevault_cache.gitobjects import object_id, parse_tree, read_pack
from codevault_cache.treepaths import path_spelled, problem, spelled_out

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CORPUS = Path(__file__).parent / "corpus"


# -- packs, piece by piece ------------------------------------------------------------------------


def number(value: int) -> bytes:
    """A size in a delta."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def head(kind: int, size: int) -> bytes:
    first, size = kind << 4 | size & 15, size >> 4
    if not size:
        return bytes([first])
    return bytes([first | 0x80]) + number(size)


def back(distance: int) -> bytes:
    """The distance to the base of a delta."""
    out = [distance & 0x7F]
    while distance := distance >> 7:
        distance -= 1
        out.append(distance & 0x7F | 0x80)
    return bytes(reversed(out))


def entry(kind: int, content: bytes, base: bytes = b"", size: int | None = None) -> bytes:
    return head(kind, len(content) if size is None else size) + base + zlib.compress(content)


def sealed(body: bytes) -> bytes:
    return body + hashlib.sha1(body).digest()


def pack(*entries: bytes, count: int | None = None) -> bytes:
    count = len(entries) if count is None else count
    return sealed(b"PACK\0\0\0\2" + count.to_bytes(4, "big") + b"".join(entries))


def delta(base: int, result: int, *ops: bytes) -> bytes:
    return number(base) + number(result) + b"".join(ops)


def seeds() -> dict[str, bytes]:
    """Packs of every kind of trouble that is known."""
    whole = entry(3, b"hello")
    oid = bytes.fromhex(object_id("blob", b"hello"))
    copy = b"\x90\x05"  # five bytes from the beginning
    ofs = entry(6, delta(5, 5, copy), back(len(whole)))
    ref = entry(7, delta(5, 6, copy, b"\x01!"), oid)
    a, b = bytes(19) + b"a", bytes(19) + b"b"
    cases = {
        "good": pack(whole, ofs, ref),
        "empty": pack(),
        "twice": pack(whole, whole),
        "not a pack": sealed(b"<html>please log in</html>"),
        "version 4": sealed(b"PACK\0\0\0\4" + bytes(4)),
        "trailer": pack(whole)[:-1] + b"x",
        "cut": sealed(pack(whole)[:-25]),
        "count high": pack(whole, count=2),
        "count huge": pack(whole, count=2**32 - 1),
        "count low": pack(whole, whole, count=1),
        "garbage": pack(whole, b"garbage", count=1),
        "size low": pack(entry(3, b"hello", size=4)),
        "size high": pack(entry(3, b"hello", size=6)),
        "size endless": pack(b"\xbf" + b"\xff" * 9 + b"\x01"),
        "bomb that lies": pack(entry(3, bytes(1 << 20), size=12)),
        "bomb": pack(*[entry(3, bytes(1 << 20))] * 4),
        "kind 0": pack(entry(0, b"x")),
        "kind 5": pack(entry(5, b"x")),
        "ofs 0": pack(entry(6, delta(5, 5, copy), back(0))),
        "ofs before start": pack(whole, entry(6, delta(5, 5, copy), back(500))),
        "ofs into the head": pack(whole, entry(6, delta(5, 5, copy), back(len(whole) + 4))),
        "ofs inside": pack(whole, entry(6, delta(5, 5, copy), back(len(whole) - 1))),
        "ofs endless": pack(whole, b"\x65" + b"\xff" * 40 + b"\x01"),
        "ref missing": pack(entry(7, delta(5, 5, copy), a)),
        "ref cycle": pack(entry(7, delta(5, 5, copy), b), entry(7, delta(5, 5, copy), a)),
        "delta empty": pack(whole, entry(7, b"", oid)),
        "delta of another base": pack(whole, entry(7, delta(9, 5, copy), oid)),
        "delta lies low": pack(whole, entry(7, delta(5, 4, copy), oid)),
        "delta lies high": pack(whole, entry(7, delta(5, 9, copy), oid)),
        "delta huge": pack(whole, entry(7, delta(5, 1 << 40, copy), oid)),
        "delta endless size": pack(whole, entry(7, b"\xff" * 30, oid)),
        "copy outside": pack(whole, entry(7, delta(5, 5, b"\x91\x03\x05"), oid)),
        "copy cut": pack(whole, entry(7, delta(5, 5, b"\xff"), oid)),
        "copy amplified": pack(
            entry(3, bytes(60000)),
            entry(6, delta(60000, 10, b"\xb0\x60\xea" * 5000), back(len(entry(3, bytes(60000))))),
        ),
        "insert cut": pack(whole, entry(7, delta(5, 5, b"\x05ab"), oid)),
        "opcode 0": pack(whole, entry(7, delta(5, 5, b"\0"), oid)),
        "zlib": pack(head(3, 5) + b"not zlib at all"),
        "dictionary": pack(head(3, 5) + b"\x78\xbb\x00\x00\x00\x01" + b"x" * 20),
    }
    return {f"pack/{name}": data for name, data in cases.items()}


# -- what reading promises ------------------------------------------------------------------------


def read_any_pack(data: bytes) -> None:
    found, index = received.receive(memoryview(data), sha256=False)
    for oid, (kind, content) in found.items():
        assert object_id(kind, content) == oid
    assert index[:8] == b"\xfftOc\0\0\0\2"
    for oid, (kind, content) in read_pack(data).items():
        assert found[oid] == (kind, content)


def read_any_tree(data: bytes) -> None:
    entries = parse_tree(data, 20)
    assert len({each.name for each in entries}) == len(entries)
    for each in entries:
        if problem(each.name) is None:
            read_any_path(os.fsencode(each.name))


def read_any_path(data: bytes) -> None:
    path = data.decode("utf-8", "surrogateescape")
    if problem(path) is not None:
        return
    assert posixpath.normpath("/top/" + path) == "/top/" + path
    assert not {part.casefold() for part in path.split("/")} & {".git", "git~1", "", "..", "."}
    assert path.isprintable() or not any(ord(c) < 32 or ord(c) == 127 for c in path)
    assert path_spelled(spelled_out(path)) == path
    json.dumps(spelled_out(path), ensure_ascii=False).encode()
    left = "".join(c for c in path if not "\udc80" <= c <= "\udcff")
    assert not {part.casefold() for part in left.split("/")} & {".git", "git~1", "..", "."}


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "pack": read_any_pack,
    "tree": read_any_tree,
    "path": read_any_path,
}


def outcome(target: str, data: bytes) -> str:
    """How an input ends: "read", or the error and the line that raised it."""
    try:
        TARGETS[target](data)
    except errors.CacheError as error:
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        where = at.tb_frame.f_code.co_name if at is not None else ""
        return f"{type(error).__name__} in {where}: {error.what}"
    return "read"


SMALL: Final[tuple[tuple[Any, str, int], ...]] = (
    (received, "INFLATED_BYTES", 3 << 20),
    (received, "HELD_BYTES", 1 << 16),
    (received, "_SMALL", 1 << 12),
    (gitobjects, "TOTAL_BYTES", 12 << 20),
)
"""Budgets that are met at once."""


def small_limits() -> None:
    """Put the small budgets in place, in this process."""
    for module, name, value in SMALL:
        setattr(module, name, value)


def corpus() -> dict[str, bytes]:
    kept = {str(p.relative_to(CORPUS)): p.read_bytes() for p in CORPUS.rglob("*") if p.is_file()}
    return {**seeds(), **kept}


def replay() -> dict[str, str]:
    """The outcome of every kept input."""
    small_limits()
    return {name: outcome(name.partition("/")[0], data) for name, data in sorted(corpus().items())}


# -- new inputs -----------------------------------------------------------------------------------


def changed(choose: random.Random, data: bytes, others: list[bytes]) -> bytes:
    out = bytearray(data)
    for _ in range(choose.randint(1, 4)):
        at = choose.randrange(len(out) + 1)
        what = choose.randrange(5)
        if what == 0 and at < len(out):
            out[at] ^= 1 << choose.randrange(8)
        elif what == 1:
            out[at:at] = choose.randbytes(choose.randint(1, 4))
        elif what == 2:
            del out[at : at + choose.randint(1, 8)]
        elif what == 3:
            other = choose.choice(others)
            begin = choose.randrange(len(other) + 1)
            out[at:at] = other[begin : begin + choose.randint(1, 64)]
        elif at < len(out):
            out[at] = choose.choice(b"\x00\x01\x7f\x80\xff/.~ \n")
    return bytes(out)


def mutated(choose: random.Random, target: str, data: bytes, others: list[bytes]) -> bytes:
    if target != "pack" or choose.random() < 0.05:
        return changed(choose, data, others)
    # The trailer is put right, so that more than it is tested.
    return sealed(changed(choose, data[:-20], others))


def main() -> None:
    """Look for inputs that end in a new way, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    choose = random.Random(options.seed)
    ends = {(name.partition("/")[0], end) for name, end in replay().items()}
    inputs: dict[str, list[bytes]] = {target: [] for target in TARGETS}
    for name, data in corpus().items():
        inputs[name.partition("/")[0]].append(data)
    until, tried = time.monotonic() + options.seconds, 0
    while time.monotonic() < until:
        target = choose.choice(list(TARGETS))
        data = mutated(choose, target, choose.choice(inputs[target]), inputs[target])
        tried += 1
        end = outcome(target, data)
        if (target, end) not in ends and len(data) < 4096:
            ends.add((target, end))
            inputs[target].append(data)
            (CORPUS / target).mkdir(parents=True, exist_ok=True)
            (CORPUS / target / hashlib.sha1(data).hexdigest()[:12]).write_bytes(data)
            print(f"{target}: {end}")
    print(f"{tried} inputs, {len(ends)} ways to end", file=sys.stderr)


if __name__ == "__main__":
    main()
