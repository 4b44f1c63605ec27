"""The verdicts, and that pooling finds what one process alone would get wrong."""

from __future__ import annotations

import math
import random

import pytest

from benchmarks import pooled
from benchmarks.paired import Ratio

ONE, WIDE = Ratio(1.001, 0.998, 1.004), Ratio(1.0, 0.95, 1.05)
SLOW, OFF = Ratio(1.021, 1.016, 1.026), Ratio(1.02, 1.005, 1.03)


@pytest.mark.parametrize(
    ("again", "planted", "isolated", "verdict"),
    [
        (ONE, SLOW, ONE, "equal"),
        (ONE, SLOW, SLOW, "slower by 2.1%"),
        (ONE, SLOW, WIDE, "unresolved"),
        (ONE, SLOW, Ratio(1.004, 1.001, 1.012), "unresolved"),
        (ONE, SLOW, Ratio(0.97, 0.96, 0.98), "unresolved"),
        (OFF, SLOW, SLOW, "unresolved: the control"),
        (WIDE, SLOW, ONE, "unresolved: the control"),
        (ONE, WIDE, ONE, "unresolved: the planted"),
        (ONE, ONE, ONE, "unresolved: the planted"),
        # Seen, but not as 2%: then the clock, or the plant, is wrong.
        (ONE, Ratio(1.013, 1.008, 1.018), ONE, "unresolved: the planted"),
        (ONE, Ratio(1.107, 1.1, 1.11), ONE, "unresolved: the planted"),
    ],
)
def test_verdicts(again: Ratio, planted: Ratio, isolated: Ratio, verdict: str) -> None:
    given = pooled.judge(again, planted, isolated)
    assert given.startswith(verdict)
    assert (":" in given) is (":" in verdict)


def drawn(level: float, dice: random.Random, processes: int = 20) -> list[list[float]]:
    """Blocks of processes that are each off, as real ones: by 0.4%, and its blocks by 1%."""
    biases = [dice.gauss(math.log(level), 0.004) for _ in range(processes)]
    return [[dice.gauss(bias, 0.01) for _ in range(24)] for bias in biases]


def compared(isolated: float, seed: int) -> pooled.Comparison:
    dice = random.Random(seed)
    levels = {"again": 1.0, "planted": 1.02, "isolated": isolated}
    return pooled.compare({arm: drawn(level, dice) for arm, level in levels.items()})


def test_known_ratios_give_the_known_verdict() -> None:
    equal, slower = compared(1.0, 0), compared(1.05, 1)
    assert equal.verdict == "equal"
    assert 0.002 < equal.spread < 0.008
    assert slower.verdict.startswith("slower by 5.")
    assert slower.isolated is not None
    assert slower.isolated.is_near(1.05, 0.006)


def test_what_is_too_slow_is_never_equal() -> None:
    assert "equal" not in {compared(1.012, seed).verdict for seed in range(8)}


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    found = [pooled.pool(drawn(1.02, random.Random(seed))) for seed in range(50)]
    assert sum(ratio.low <= 1.02 <= ratio.high for ratio in found) >= 44


def test_more_blocks_do_not_make_up_for_one_process() -> None:
    dice = random.Random(0)
    off = [[dice.gauss(0.004 * side, 0.0001) for _ in range(400)] for side in (-1, 1)]
    assert not pooled.pool(off).is_near(1, 0.003)
