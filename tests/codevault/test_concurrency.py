"""Sixteen processes load one cold snapshot through the whole of codevault at once."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

import codevault
from codevault_cache import Cache
from tests.forks import at_once

MANY = [pytest.mark.slow, pytest.mark.timeout(3000)]


@pytest.mark.parametrize("rounds", [2, pytest.param(200, marks=MANY)])
def test_I1_I6_sixteen_processes_load_one_cold_snapshot_at_once(
    rounds: int, project: Any, tmp_path: Path
) -> None:
    head = project.commit({"src/gait/m.py": "X = 7\n", "src/gait/n.py": "from gait.m import X\n"})

    def load(cache: str) -> None:
        splint = codevault.load_code(project.top, head, roots=["src"], cache=cache)
        module: Any = splint.import_module("gait.n")
        if module.X != 7 or not Path(module.__file__).read_text():
            raise AssertionError("wrong code")

    load(str(tmp_path / "first"))  # what it imports is imported once for all forks
    codevault.load_code(project.top, head, roots=["src"], cache=str(tmp_path / "first")).unload()
    for _ in range(rounds):
        cache = tempfile.mkdtemp(dir=tmp_path)
        assert at_once([lambda cache=cache: load(cache)] * 16) == []  # type: ignore[misc]
        assert Cache.open(cache).verify().ok
        shutil.rmtree(cache)
