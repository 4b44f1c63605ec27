"""Readers of bytes that others can write, and what each may do: read exactly, or refuse."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codevault import manifest, manifestparts
from codevault.errors import CodevaultError
from codevault_cache import Snapshot, derived, pack, packing, snapshot
from codevault_cache.derived import read_derived
from codevault_cache.errors import CacheError
from codevault_cache.holdings import read_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

FILES = {
    "a.py": (0o100644, b"x = 1\n"),
    "d/b.sh": (0o100755, b"#!\n"),
    "d/ü.txt": (0o100644, b""),
    "d\udcff/caf\udce9": (0o100644, b"1"),
}
SNAPSHOT = Snapshot(
    "c" * 40, ("src", "."), ("env",), ("data/**",), "e" * 64, "d" * 64, "https://h/r", ("big.bin",)
)


@dataclass(frozen=True, slots=True)
class Target:
    """A reader under test.

    Attributes:
        read: Reads; raises one of the project's errors, or AssertionError for a wrong result.
        seeds: Good inputs, from which others are made.
        module: Where its lines are.
    """

    read: Callable[[bytes], Any]
    seeds: tuple[bytes, ...]
    module: ModuleType


def _record(data: bytes) -> None:
    """A record is read only if it is exactly what is written for the snapshot in it."""
    if Snapshot.from_json(data).to_json() != data:
        raise AssertionError("a record that nobody writes was read")


def _header(data: bytes) -> None:
    found = pack.parse_header(data)
    lines = [f"{m.mode:o} {m.sha256} {m.length} {path}\n" for path, m in found.members.items()]
    if os.fsencode("".join(lines)) != data:
        raise AssertionError("a header that nobody writes was read")
    for path in found.members:
        if path.startswith("/") or ".." in path.split("/"):
            raise AssertionError("a path leads out of the tree")
        if os.fsdecode(os.fsencode(path)) != path:
            raise AssertionError("a path is another one on the disk")


def _file(data: bytes, look: Callable[[str], Any]) -> Any:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        os.chmod(file.name, 0o400)
        return look(file.name)


DIGEST, PIECES = pack.encode(FILES)
PACK = b"".join(PIECES)


def _pack(data: bytes) -> None:
    """Only the one pack of a digest passes under its name."""
    why = _file(data, lambda path: packing.pack_problem(path, DIGEST))
    if (why is None) != (data == PACK):
        raise AssertionError(f"another pack passes, or the right one does not: {why}")


def _request(data: bytes) -> None:
    _file(data, read_record)


def _code(data: bytes) -> None:
    if _file(data, lambda path: read_derived(path, "d" * 64, "cp")) is not None:
        raise AssertionError("a code pack that nobody derived counts")


def _manifest(data: bytes) -> None:
    found = manifest.parse(data, "it")
    again = manifest.parse(found.to_json(), "it")
    if again.to_json() != found.to_json():
        raise AssertionError("a manifest does not survive being written")


MANIFEST = manifest.Manifest(
    codevault="1",
    repo="https://h/r",
    commit="c" * 40,
    base="b" * 40,
    tree="a" * 40,
    digest="d" * 64,
    roots=("src",),
    shared=("env",),
    overlay=manifestparts.OverlayPart(
        digest="e" * 64,
        files=tuple(
            manifestparts.OverlayFile(path=path, deleted=True) for path in ("a.py", "d\\xff/é.py")
        ),
    ),
    env={"size": [1, 2.5, None, True]},
    python="3.11.7",
    packages={"torch": "2.13.0"},
    architecture="f" * 64,
    weights="0" * 64,
    probe=manifestparts.ProbePart(inputs=1, outputs=1, sha256="1" * 64),
    created="2026-01-02T03:04:05Z",
    metadata={"epoch": 3, "text": "ü"},
).to_json()


HEADER = PACK[12 : 12 + int.from_bytes(PACK[8:12], "little")]
TARGETS = {
    "record": Target(_record, (SNAPSHOT.to_json(),), snapshot),
    "request": Target(_request, (b'{"commit":null}\n' + SNAPSHOT.to_json(),), snapshot),
    "header": Target(_header, (HEADER,), pack),
    "pack": Target(_pack, (PACK,), pack),
    "code": Target(_code, (b"\0" * 32 + b"code",), derived),
    "manifest": Target(_manifest, (MANIFEST,), manifest),
}
ERRORS = (CacheError, CodevaultError)
"""The only errors that any reader may raise."""
