from __future__ import annotations

from benchmarks.import_snapshot import ARMS, compare


def test_a_tiny_comparison_runs_and_reports_every_arm() -> None:
    report = compare(modules=12, rounds=1)
    assert set(report["medians"]) == set(ARMS)
    assert ("ratio" in report) == ("within_budget" in report)  # none where the control is off
    assert ("within_budget" in report) != ("no_verdict" in report)
