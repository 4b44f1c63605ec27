from __future__ import annotations

import random

from benchmarks import paired


def test_a_ratio_is_the_median_of_pairs() -> None:
    native = [1.0, 2.0, 4.0, 8.0, 16.0] * 10
    found = paired.ratio([1.5 * value for value in native], native, random.Random(0))
    assert found.low == found.median == found.high == 1.5
