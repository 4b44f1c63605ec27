"""A ratio of paired times, with its interval."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Ratio:
    """A median of paired ratios to the native arm, with its bootstrap 95% interval."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.4f} [{self.low:.4f}, {self.high:.4f}]"

    def is_near(self, value: float, margin: float) -> bool:
        """Whether all of the interval is."""
        return self.low > value - margin and self.high < value + margin


def ratio(times: Sequence[float], native: Sequence[float], dice: random.Random) -> Ratio:
    """The median of paired ratios, and its percentile bootstrap interval."""
    paired = [mine / other for mine, other in zip(times, native, strict=True)]
    draws = sorted(statistics.median(dice.choices(paired, k=len(paired))) for _ in range(2000))
    return Ratio(statistics.median(paired), draws[49], draws[1949])
