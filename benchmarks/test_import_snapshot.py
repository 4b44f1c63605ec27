from __future__ import annotations

from benchmarks import import_peers
from benchmarks.import_snapshot import ARMS, _verdict, compare


def test_a_tiny_comparison_runs_and_reports_every_arm() -> None:
    report = compare(modules=12, rounds=1)
    assert set(report["medians"]) == set(ARMS)
    assert ("ratio" in report) == ("within_budget" in report)  # none where the control is off
    assert ("within_budget" in report) != ("no_verdict" in report)


def test_a_tiny_run_beside_the_peers() -> None:
    report = import_peers.compare("package", modules=6, rounds=1)
    assert {"plain", "codevault", "zipimport", "torch.package"} <= report["cpu_ms"].keys()
    assert report["refused"].keys() <= {"transformers"}


def test_no_ratio_is_given_where_its_control_is_off() -> None:
    def runs(imports: float, single: float) -> dict[str, list[dict[str, float]]]:
        names = ("host_import_ns", "host_import_installed_ns")
        plain = {"cpu_ms": 100.0, "from_import_ns": 50.0}
        control = {"cpu_ms": imports, "from_import_ns": single, **dict.fromkeys(names, 40.0)}
        once = {"plain": plain, "mounted": {**plain, "cpu_ms": 80.0}, "control": control}
        slower = {arm: {k: 3 * v for k, v in run.items()} for arm, run in once.items()}
        return {arm: [run, slower[arm], run] for arm, run in once.items()}  # slow for a while

    claimed = _verdict(runs(101, 51))
    assert (claimed["ratio"], claimed["host_import_ratio"], claimed["within_budget"]) == (0.8, 1, 1)
    assert not {"ratio", "host_import_ratio"} & _verdict(runs(110, 51)).keys()
    single_off = _verdict(runs(101, 60))
    assert single_off["ratio"] == 0.8
    assert not {"from_import_ratio", "host_import_ratio"} & single_off.keys()
