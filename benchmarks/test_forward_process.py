from __future__ import annotations

import pytest

from benchmarks import forward_process, pooled


@pytest.mark.parametrize(("start", "each"), [(0.0, 1.0), (0.008, 1.4), (-0.002, 0.7)])
def test_what_is_planted_slows_by_2_percent_wherever_it_begins(start: float, each: float) -> None:
    once = 1e5
    few, many = 2 * pooled.PLANTED * once, 6 * pooled.PLANTED * once

    def share(work: float) -> float:
        return start + each * work / once

    found = forward_process.plant(few, share(few), many, share(many))
    assert share(found) == pytest.approx(pooled.PLANTED)


def test_a_trial_that_is_all_noise_still_plants() -> None:
    for less, more in ((0.05, -0.1), (0.3, 0.31), (-0.3, 0.1)):
        assert 1000 <= forward_process.plant(5000, less, 15000, more) <= 5000
