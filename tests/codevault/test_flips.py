"""Every byte of a small cache, flipped in turn: a load heals or is right; the byte never runs."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

import codevault
from codevault_cache import Cache, atomicwrite, paths
from codevault_cache.errors import CorruptEntry
from codevault_cache.holdings import holdings
from codevault_cache.packing import pack_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOURCE = "X = 1\ndef f(a):\n    return a + X\n"


@pytest.fixture
def load(project: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Loads the code, and checks that it is the code that was committed, byte for byte."""
    monkeypatch.setattr(atomicwrite, "durable", False)
    head = project.commit({"src/gait/m.py": SOURCE})
    code = compile(SOURCE, "m", "exec").co_consts[1]

    def once() -> None:
        splint = codevault.load_code(project.top, head, roots=["src"], shared=[], include=[])
        try:
            module: Any = splint.import_module("gait.m")
            assert (module.X, module.f(2)) == (1, 3)
            found = module.f.__code__
            assert (found.co_code, found.co_consts, found.co_names, found.co_varnames) == (
                (code.co_code, code.co_consts, code.co_names, code.co_varnames)
            )
            assert splint.tree.read("src/gait/m.py") == SOURCE.encode()
        finally:
            splint.unload()

    def run() -> None:
        try:
            once()
        except CorruptEntry:  # refused when the damaged source was read; the next load is right
            once()

    run()
    return run


EVERY = pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 13])
"""Each byte takes minutes; every 13th one does for a run in passing."""


def flips(path: str, step: int) -> Iterator[int]:
    """Flips each byte of a file in turn, in place as a bad disk does, and puts the file back."""
    with open(path, "rb") as file:
        good = file.read()
    mode = stat.S_IMODE(os.stat(path).st_mode)
    for at in range(0, len(good), step):
        _write(path, good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :], mode)
        yield at
        with open(path, "rb") as file:
            healed = file.read() == good
        if not healed:
            _write(path, good, mode)


def _write(path: str, data: bytes, mode: int) -> None:
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.write(data)
    os.chmod(path, mode)


def place(kind: str) -> str:
    root = Cache.open().roots[0]
    (held,) = holdings(root)
    if kind == "file":
        return os.path.join(paths.tree(root, held.digest), "src/gait/m.py")
    if kind == "code pack":
        return held.code[0]
    if kind == "source pack":
        return paths.pack(root, held.digest)
    return held.records[0]


@EVERY
@pytest.mark.parametrize("kind", ["source pack", "code pack", "record", "file"])
def test_I1_I5_I11_every_byte_flipped_in_turn(
    kind: str, step: int, load: Callable[[], None]
) -> None:
    path = place(kind)
    size = os.path.getsize(path)
    tried = []
    for at in flips(path, step):
        load()
        tried.append(at)
    assert tried == list(range(0, size, step))
    assert Cache.open().verify().ok


@EVERY
def test_I1_I5_every_byte_of_a_source_pack_that_has_to_be_compiled(
    step: int, load: Callable[[], None]
) -> None:
    path, code = place("source pack"), place("code pack")
    root = Cache.open().roots[0]
    for count, _ in enumerate(flips(path, step), 1):
        os.unlink(code)
        load()  # refuses the pack, sets it aside, fetches it again
        assert pack_problem(path, os.path.basename(path).removesuffix(".cvs")) is None
        assert len(os.listdir(paths.quarantine(root))) == count
    assert Cache.open().verify().ok


def test_I16_a_flipped_file_is_told_by_verify(load: Callable[[], None]) -> None:
    path = place("file")
    for at in flips(path, 1):
        report = Cache.open().verify()
        assert [bad.why for bad in report.bad] == ["The content of 'src/gait/m.py' was changed."], (
            at
        )
