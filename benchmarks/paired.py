"""Paired times of arms that should cost the same, and what may be said of them.

A block times every arm twice, in random order and back, with the garbage collector off; a ratio is
the median of the blocks' paired ratios to the native arm, with its bootstrap 95% interval. An arm
is equal if that interval lies within 1% of one: stricter than an equivalence test (TOST) at 5%.
"""

from __future__ import annotations

import gc
import random
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MARGIN = 0.01


@dataclass(frozen=True, slots=True)
class Ratio:
    """A median of paired ratios to the native arm, with its bootstrap 95% interval."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.4f} [{self.low:.4f}, {self.high:.4f}]"

    @property
    def is_one(self) -> bool:
        return self.is_near(1, MARGIN)

    def is_near(self, value: float, margin: float) -> bool:
        """Whether all of the interval is."""
        return self.low > value - margin and self.high < value + margin


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one run says; no ratio of the isolated arm where the control or the plant is off."""

    native_us: float
    again: Ratio
    planted: Ratio
    isolated: Ratio | None
    verdict: str

    def __str__(self) -> str:
        return (
            f"native {self.native_us:9.1f} us   again {self.again}   planted {self.planted}   "
            f"isolated {self.isolated or 'not claimed'}   {self.verdict}"
        )


def compare(arms: Mapping[str, Callable[[], float]], blocks: int, seed: int) -> Comparison:
    """Times the arms `native`, `again`, `isolated` and `planted`.

    Args:
        arms: Each gives the nanoseconds of one call, measured over several.
        blocks: How many paired ratios are taken.
        seed: Of the order and of the bootstrap.
    """
    dice = random.Random(seed)
    times: dict[str, list[float]] = {arm: [] for arm in arms}
    gc.collect()
    gc.disable()
    try:
        for _ in range(blocks):
            order = dice.sample(sorted(arms), len(arms))
            spent = dict.fromkeys(arms, 0.0)
            for arm in order + order[::-1]:
                spent[arm] += arms[arm]() / 2
            for arm, value in spent.items():
                times[arm].append(value)
    finally:
        gc.enable()
    ratios = {a: ratio(times[a], times["native"], dice) for a in arms if a != "native"}
    given = judge(ratios["again"], ratios["planted"], ratios["isolated"])
    return Comparison(
        native_us=statistics.median(times["native"]) / 1e3,
        again=ratios["again"],
        planted=ratios["planted"],
        isolated=None if given.startswith("unresolved:") else ratios["isolated"],
        verdict=given,
    )


def judge(again: Ratio, planted: Ratio, isolated: Ratio) -> str:
    """The verdict: equal, slower by so much, or unresolved; with a colon if no ratio is given."""
    if not again.is_one:
        return "unresolved: the control is off by more than 1%"
    if planted.is_one or planted.low <= 1:
        return "unresolved: the planted slowdown is not seen"
    if isolated.is_one:
        return "equal"
    # Beyond what the control shows of identical code; otherwise it is noise.
    if isolated.low > max(1, again.high):
        return f"slower by {isolated.median - 1:.1%}"
    return "unresolved"


def ratio(times: Sequence[float], native: Sequence[float], dice: random.Random) -> Ratio:
    """The median of paired ratios, and its percentile bootstrap interval."""
    paired = [mine / other for mine, other in zip(times, native, strict=True)]
    draws = sorted(statistics.median(dice.choices(paired, k=len(paired))) for _ in range(2000))
    return Ratio(statistics.median(paired), draws[49], draws[1949])
