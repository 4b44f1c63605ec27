from __future__ import annotations

from benchmarks import startup


def test_a_tiny_run_starts_every_arm() -> None:
    report = startup.compare(2)
    assert report["bare_ms"] > 1
    assert ("cost_ms" in report) != ("no_verdict" in report)


def test_no_cost_is_claimed_where_equal_arms_differ() -> None:
    assert startup.judge({"bare": 10.0, "startup": 10.1, "control": 10.11})["within_budget"]
    assert not startup.judge({"bare": 10.0, "startup": 10.6, "control": 10.61})["within_budget"]
    assert "cost_ms" not in startup.judge({"bare": 10.0, "startup": 10.1, "control": 10.3})
