from __future__ import annotations

import pytest

from benchmarks.weights import ARMS, compare


@pytest.mark.slow  # CI runs the benchmark itself, quickly
def test_a_tiny_run_reports_every_arm() -> None:
    report = compare(megabytes=8, rounds=1)
    assert set(report["medians"]) == set(ARMS)
    assert ("within_budget" in report) != ("no_verdict" in report)
