"""Of the cold-fetch benchmark, that it runs and judges; no time is asserted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.cold_fetch import ARMS, compare, verdict
from benchmarks.git_server import write_repository

if TYPE_CHECKING:
    from pathlib import Path


def test_a_tiny_comparison_runs_and_a_sub_tree_costs_fewer_bytes(tmp_path: Path) -> None:
    commit = write_repository(tmp_path / "r.git", files=100, commits=3)
    report = compare(tmp_path / "r.git", commit, "src/p7", rounds=1)
    assert set(report["medians"]) == set(ARMS)
    assert ("ratio" in report) == ("within_budget" in report)  # none where the control is off
    assert ("within_budget" in report) != ("no_verdict" in report)
    assert report["bytes"]["codevault, src/p7"] < report["bytes"]["git"] / 5


def test_verdict_needs_a_quiet_machine() -> None:
    def judged(control: float, codevault: float) -> dict[str, object]:
        times = {"git": 100.0, "control": control, "codevault": codevault, "further": 50.0}
        return verdict(
            {
                arm: dict.fromkeys(("cpu_ms", "call_ms", "user_ms", "wall_ms"), cpu)
                for arm, cpu in times.items()
            }
        )

    assert judged(101.0, 90.0)["within_budget"] is True
    assert judged(99.0, 130.0)["within_budget"] is False
    assert "no_verdict" in judged(150.0, 90.0)
