from __future__ import annotations

import functools
import random

from benchmarks import blocks


def test_a_block_is_the_median_of_its_rounds() -> None:
    seen: list[str] = []

    def arm(name: str, level: float) -> tuple[float, float]:
        seen.append(name)
        hit = 50 if len(seen) % 40 == 0 else 1  # a neighbour
        return level * hit, 2 * level

    arms = {n: functools.partial(arm, n, v) for n, v in (("native", 100.0), ("again", 102.0))}
    found = blocks.take(arms, ("cpu", "wall"), 6, 9, random.Random(0))
    assert len(found.native["cpu"]) == 6 * 9
    for reading in ("cpu", "wall"):
        assert blocks.packed(found.logs[reading]["again"]) == " ".join(["19803"] * 6)
    turns = [seen[at : at + 4] for at in range(0, len(seen), 4)]
    assert len(turns) == 6 * 9
    assert all(turn == turn[::-1] for turn in turns)
    assert {turn[0] for turn in turns} == {"native", "again"}


def test_packed_logarithms_are_read_back() -> None:
    assert blocks.unpacked(blocks.packed([0.0198026, -0.5, 0.0])) == [0.019803, -0.5, 0.0]
