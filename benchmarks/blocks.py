"""Times of arms that should cost the same, in one process, block by block.

A round times every arm twice, in random order and back, which gives one paired ratio to the native
arm; a block is some rounds, of which the median counts.
"""

from __future__ import annotations

import gc
import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Arms = Mapping[str, Callable[[], Sequence[float]]]


@dataclass(slots=True)
class Blocks:
    """What the blocks of one process found, for each reading of the clock.

    Attributes:
        native: Nanoseconds of each round's native arm.
        logs: Of each other arm, the logarithm of its ratio to the native arm in each block.
    """

    native: dict[str, list[float]] = field(default_factory=dict)
    logs: dict[str, dict[str, list[float]]] = field(default_factory=dict)


def take(
    arms: Arms, readings: Sequence[str], blocks: int, rounds: int, dice: random.Random
) -> Blocks:
    """Times the arms, with the garbage collector off.

    Args:
        arms: `native` and others; each gives nanoseconds, one for each reading.
        readings: Their names.
        blocks: How many.
        rounds: In each block.
        dice: Draws the orders.
    """
    others = [arm for arm in arms if arm != "native"]
    found = Blocks(
        {reading: [] for reading in readings},
        {reading: {arm: [] for arm in others} for reading in readings},
    )
    gc.collect()
    gc.disable()
    try:
        for _ in range(blocks):
            taken = [_round(arms, dice) for _ in range(rounds)]
            for at, reading in enumerate(readings):
                found.native[reading] += [one["native"][at] for one in taken]
                for arm in others:
                    logs = (math.log(one[arm][at] / one["native"][at]) for one in taken)
                    found.logs[reading][arm].append(statistics.median(logs))
    finally:
        gc.enable()
    return found


def _round(arms: Arms, dice: random.Random) -> dict[str, list[float]]:
    order = dice.sample(sorted(arms), len(arms))
    times: dict[str, list[Sequence[float]]] = {arm: [] for arm in arms}
    for arm in order + order[::-1]:
        times[arm].append(arms[arm]())
    return {arm: [sum(pair) / 2 for pair in zip(*two, strict=True)] for arm, two in times.items()}


def packed(logs: Iterable[float]) -> str:
    """Logarithms as millionths, in one line of a JSON file."""
    return " ".join(str(round(log * 1e6)) for log in logs)


def unpacked(line: str) -> list[float]:
    return [int(word) / 1e6 for word in line.split()]
