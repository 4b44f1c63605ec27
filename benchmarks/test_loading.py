from __future__ import annotations

from benchmarks import loading


def test_a_tiny_run_reports_every_arm() -> None:
    report = loading.compare(1, 1, "cpu", cold=False)
    assert list(report["medians"]) == list(loading.ARMS)
    assert ("ratios" in report) != ("no_verdict" in report)
    for found in report["medians"].values():
        assert 0 < found["load_ms"] <= found["action_ms"]


def test_no_ratio_is_given_where_the_control_is_off() -> None:
    medians = {arm: {"load_cpu_ms": 10.0} for arm in loading.ARMS}
    assert loading.judge(medians)["ratios"]["load_policy"] == 1.0
    medians["control"]["load_cpu_ms"] = 11.5
    assert loading.judge(medians) == {"no_verdict": "the control is off: 1.15"}
