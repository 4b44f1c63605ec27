from __future__ import annotations

from typing import Any

from benchmarks import league


def test_a_tiny_league_reports_every_arm() -> None:
    report = league.compare(checkpoints=4, commits=2, matches=10, rounds=1)
    assert list(report["medians"]) == list(league.ARMS)
    assert len(report["memory_mb"]["codevault"]) == 10
    assert ("more_ms_a_load" in report) != ("no_verdict" in report)


def test_memory_that_grows_is_told() -> None:
    def run(leak: float, later: float = 1.0) -> list[dict[str, Any]]:
        return [{"first_ms": 2.0, "later_ms": later, "leak_mb": leak, "memory_mb": [9.0]}]

    flat = league.judge({"native": run(0.5), "control": run(0.5), "codevault": run(1.0, 9.0)})
    assert (flat["memory"], flat["more_ms_a_load"]) == ("flat", 8.0)
    grown = league.judge({"native": run(0.0), "control": run(0.0, 1.2), "codevault": run(7.0)})
    assert grown["memory"] == "grew by 7.0 MB"
    assert "more_ms_a_load" not in grown
