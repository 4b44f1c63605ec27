from __future__ import annotations

import pytest

from benchmarks import latency, warm_load


@pytest.mark.skipif(bool(warm_load.missing()), reason="system calls cannot be delayed here")
def test_each_look_at_a_file_takes_time() -> None:
    report = latency.compare(modules=12, delay_us=2000, rounds=1)
    assert report["calls"]["codevault"] < 60 < report["calls"]["plain"]
    for arm in latency.ARMS:
        assert report["ms"][arm] > report["calls"][arm] * 2  # each call was held
    assert ("ratios" in report) != ("no_verdict" in report)


def test_no_ratio_is_given_where_the_control_is_off() -> None:
    ms = {"plain": 100.0, "control": 110.0, "zipimport": 50.0, "codevault": 10.0}
    assert latency.judge(ms)["ratios"]["codevault"] == 0.1
    assert latency.judge({**ms, "control": 120.0}) == {"no_verdict": "the control is off: 1.2"}
