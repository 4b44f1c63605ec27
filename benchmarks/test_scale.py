from __future__ import annotations

from benchmarks import scale


def test_a_tiny_run_reports_every_count() -> None:
    report = scale.compare((1, 2, 4), 1)
    assert [row["versions"] for row in report["rows"]] == [1, 2, 4]
    assert all(row["cpu_ms"] > 0 and row["mb"] > 0 for row in report["rows"])
    assert report["mb_each"][-1] > 0.2  # the versions share no code, so each one costs


def test_growth_is_judged() -> None:
    def rows(power: float, control: float = 1.0) -> list[dict[str, float]]:
        cost = {n: 10.0 * n**power for n in scale.COUNTS}
        arms = {
            "cpu_ms": 1.0,
            "control_cpu_ms": control,
            "frozen_cpu_ms": 1.0,
            "mb": 0.2,
            "gc_ms": 1,
        }
        return [
            {"versions": n, **{key: c * part for key, part in arms.items()}}
            for n, c in cost.items()
        ]

    linear, square = scale.judge(rows(1)), scale.judge(rows(2))
    assert (linear["time"], linear["memory"], linear["within_budget"]) == ("linear", "linear", True)
    assert {square[key] for key in ("time", "frozen_time", "memory")} == {"faster than linear"}
    assert not square["within_budget"]
    assert scale.judge(rows(2, 1.2))["time"].startswith("unresolved")
