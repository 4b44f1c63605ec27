"""Every reader of bytes that others can write: the corpus, inputs made of it, and budgets."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.fuzz import BYTES, LONGEST, corpus, holds, mutated, peak
from tests.fuzz.targets import TARGETS

HERE = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_and_inputs_made_of_it_are_read_exactly_or_refused(name: str) -> None:
    target, choose = TARGETS[name], random.Random(1)
    known = corpus(name)
    for data in known:
        holds(target, data)
    for _ in range(400):
        holds(target, mutated(choose, known))


@pytest.mark.parametrize("name", TARGETS)
def test_a_good_input_is_read(name: str) -> None:
    if name != "code":  # nobody but the cache can write one
        for seed in TARGETS[name].seeds:
            TARGETS[name].read(seed)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("piece", [b"[", b'{"a":', b"1,", b"\n", b"100644 ", b"\xff", b"\0"])
def test_memory_stays_bounded_whatever_is_repeated(name: str, piece: bytes) -> None:
    target = TARGETS[name]
    long = (piece * LONGEST)[:LONGEST]
    for data in (long, target.seeds[0] + long, target.seeds[0][:50] + long):
        assert peak(target, data) < BYTES


def test_the_same_under_O() -> None:
    program = (
        "import random\n"
        "from tests.fuzz.fuzz import corpus, holds, mutated\n"
        "from tests.fuzz.targets import TARGETS\n"
        "choose = random.Random(2)\n"
        "for name, target in TARGETS.items():\n"
        "    known = corpus(name)\n"
        "    for data in [*known, *(mutated(choose, known) for _ in range(150))]:\n"
        "        holds(target, data)\n"
        "print(__debug__)\n"
    )
    command = [sys.executable, "-O", "-c", program]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr
