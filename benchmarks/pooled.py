"""Ratios pooled over processes, and what may be said of them.

Within a process two equal arms differ by up to 1%, always the same way: by where the allocator put
their code and objects. So a ratio is the median over processes, each of which made the arms anew in
random order, of each one's median over blocks; its 95% interval is of a bootstrap that draws
processes, and then blocks of each. An arm is equal if that interval lies within 1% of one: stricter
than an equivalence test (TOST) at 5%.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy

from benchmarks.paired import Ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Blocks = Sequence[Sequence[float]]

MARGIN: Final = 0.01
PLANTED: Final = 0.02
DRAWS: Final = 2000


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a clock says; no ratio of the isolated arm where the control or the plant is off.

    Attributes:
        spread: Standard deviation of the control from process to process, as a share: how far off
            one process alone is.
        again: The control: native code against native code.
        planted: Native code with 2% more work.
        isolated: What the verdict is about.
        verdict: The verdict.
    """

    spread: float
    again: Ratio
    planted: Ratio
    isolated: Ratio | None
    verdict: str

    def __str__(self) -> str:
        return (
            f"again {self.again}   planted {self.planted}   "
            f"isolated {self.isolated or 'not claimed'}   {self.verdict}"
        )


def compare(logs: Mapping[str, Blocks]) -> Comparison:
    """The verdict on the arms `again`, `planted` and `isolated`.

    Args:
        logs: Of each arm, by process and block, the logarithm of its ratio to the native arm.
    """
    ratios = {arm: pool(blocks) for arm, blocks in logs.items()}
    given = judge(ratios["again"], ratios["planted"], ratios["isolated"])
    return Comparison(
        spread=statistics.pstdev(statistics.median(blocks) for blocks in logs["again"]),
        again=ratios["again"],
        planted=ratios["planted"],
        isolated=None if given.startswith("unresolved:") else ratios["isolated"],
        verdict=given,
    )


def judge(again: Ratio, planted: Ratio, isolated: Ratio) -> str:
    """The verdict: equal, slower by so much, or unresolved; with a colon if no ratio is given."""
    if not again.is_near(1, MARGIN):
        return "unresolved: the control is not within 1%"
    if not planted.is_near(1 + PLANTED, MARGIN):
        return "unresolved: the planted 2% is not found within 1%"
    if isolated.is_near(1, MARGIN):
        return "equal"
    # Beyond what the control shows of identical code; otherwise it is noise.
    if isolated.low > max(1, again.high):
        return f"slower by {isolated.median - 1:.1%}"
    return "unresolved"


def pool(logs: Blocks) -> Ratio:
    """The ratio of one arm; the same logarithms give the same interval."""
    values = numpy.asarray(logs, dtype=float)
    processes, blocks = values.shape
    dice = numpy.random.default_rng(0)
    who = dice.integers(processes, size=(DRAWS, processes, 1))
    which = dice.integers(blocks, size=(DRAWS, processes, blocks))
    drawn = numpy.median(numpy.median(values[who, which], axis=2), axis=1)
    middle = numpy.median(numpy.median(values, axis=1))
    low, high = numpy.quantile(drawn, [0.025, 0.975])
    return Ratio(*(float(numpy.exp(value)) for value in (middle, low, high)))
