"""Code of a further version rests on an earlier one's: it costs what changed, and heals."""

from __future__ import annotations

import gc
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import codevault
from codevault.splint import _kept_pack
from codevault_cache import Cache, atomicwrite, paths

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = {
    f"src/gait/m{n}.py": "\n".join(
        f"def f{k}(a):\n    return [a * {n} + {k}, __name__, 'text of {n} and {k}']"
        for k in range(20)
    )
    + "\n"
    for n in range(30)
}


@pytest.fixture
def commits(project: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(atomicwrite, "durable", False)
    found = []
    for version in range(3):
        text = f"VERSION = {version}\nfrom gait.m7 import f3\n"
        found.append(project.commit({**FILES, "src/gait/m0.py": text}))
    return found


@pytest.fixture
def load(project: Any, commits: list[str]) -> Callable[[int], Any]:
    def once(version: int) -> Any:
        splint = codevault.load_code(project.top, commits[version], roots=["src"], shared=[])
        assert splint.load_symbol("gait.m0:VERSION") == version
        for n in range(1, len(FILES)):
            found = splint.load_symbol(f"gait.m{n}:f3")(2)
            assert found == [2 * n + 3, f"{splint.name}.gait.m{n}", f"text of {n} and 3"]
        return splint

    return once


def code_of(splint: Any) -> str:
    cache = Cache.open()
    return paths.code(cache.roots[0], splint._mount.tag, splint.snapshot.digest)


def damage(path: str, at: int) -> None:
    mode = stat.S_IMODE(os.stat(path).st_mode)
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0] ^ 0x40
        file.seek(at)
        file.write(bytes([byte]))
    os.chmod(path, mode)


def test_a_further_version_costs_what_changed(
    load: Callable[[int], Any],
) -> None:
    first, second, third = load(0), load(1), load(2)
    whole, *others = (os.path.getsize(code_of(splint)) for splint in (first, second, third))
    assert whole > 40_000
    assert max(others) < whole / 5
    for splint in (second, third):
        pack = _kept_pack(splint._mount, Cache.open())
        assert pack is not None
        assert pack.base is not None
        assert pack.base.tree == first.snapshot.digest
    for splint in (first, second, third):
        splint.unload()


@pytest.mark.parametrize("how", ["removed", "damaged"])
def test_I5_code_whose_base_is_not_to_be_had_is_compiled_anew(
    how: str, load: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = load(0), load(1)
    base, path = code_of(first), code_of(second)
    small = os.path.getsize(path)
    for splint in (first, second):
        splint.unload()
    del first, second, splint
    gc.collect()
    if how == "removed":
        os.unlink(base)
    else:
        damage(base, os.path.getsize(base) // 2)
    again = load(1)
    again.unload()
    assert os.path.getsize(path) > 5 * small
    with monkeypatch.context() as patch:  # it was kept, and rests on nothing
        patch.setattr("codevault_importhook.codepack.compile_module", None)
        load(1).unload()


def test_I5_I11_bytes_flipped_in_what_code_rests_on_never_run(load: Callable[[int], Any]) -> None:
    first, second = load(0), load(1)
    base, path = code_of(first), code_of(second)
    for splint in (first, second):
        splint.unload()
    del first, second, splint
    gc.collect()
    for victim in (base, path):
        for at in range(0, os.path.getsize(victim), os.path.getsize(victim) // 9):
            damage(victim, at % os.path.getsize(victim))
            load(1).unload()
            load(0).unload()


def test_processes_find_what_code_rests_on(
    project: Any, commits: list[str], load: Callable[[int], Any]
) -> None:
    for version in (0, 1):
        load(version).unload()
    program = (
        "import codevault, sys\n"
        "import codevault_importhook.codepack as codepack\n"
        "codepack.compile_module = None\n"
        "splint = codevault.load_code(*sys.argv[1:], roots=['src'], shared=[])\n"
        "base = splint._mount._pack.base\n"
        "print(splint.import_module('gait.m0').VERSION, base is not None)\n"
    )
    command = [sys.executable, "-c", program, str(project.top), commits[1]]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1", "True"]
