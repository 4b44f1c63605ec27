"""Of the timed part, that it runs on the machine's device and says which; no time is asserted."""

from __future__ import annotations

import copy
import dataclasses
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import forwardtable, gpu_forward, policies, result

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.forward_process import Effort

PUBLISHED = [run for run in result.read(command.RESULTS) if run["benchmark"] == "gpu_forward"]


@pytest.mark.slow  # CI runs the benchmark itself, quickly
def test_it_runs_and_says_on_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CODEVAULT_CACHE", str(tmp_path / "default-cache"))
    file = tmp_path / "figures.json"
    code = gpu_forward.main(["--quick", "--json", str(file)])
    for name in [name for name in sys.modules if name.partition(".")[0] == "walker"]:
        del sys.modules[name]
    figures = json.loads(file.read_text())["figures"]
    clocks = 3 if torch.cuda.is_available() else 1
    assert len(figures["rows"]) == len(policies.SHAPES) * len(gpu_forward.QUICK) * clocks
    for row in figures["rows"]:
        assert row["differences"] == []
        refused = row["verdict"].startswith("unresolved:")
        assert (row["isolated"] is None) is refused
        assert {len(lines) for lines in row["logs"][row["clock"]].values()} == {2}
    assert [one["seed"] for one in figures["processes"]] == [0, 1]
    # One that is slower here may be the noise of a shared machine: no time is asserted.
    assert code in (0, 1)
    assert figures["device"]["kind"] == gpu_forward.device()
    assert ("no GPU here" in capsys.readouterr().out) is not torch.cuda.is_available()


@pytest.mark.parametrize("run", PUBLISHED)
def test_published_verdicts_follow_from_the_published_logarithms(run: dict[str, Any]) -> None:
    for row in run["figures"]["rows"]:
        found = gpu_forward.compare(row["logs"])
        again = json.loads(json.dumps(dataclasses.asdict(found[row["clock"]])))
        assert again == {key: row[key] for key in again}
        assert {len(lines) for lines in row["logs"][row["clock"]].values()} == {
            len(run["figures"]["processes"])
        }


def taken(clock: str, readings: tuple[str, ...], isolated: int) -> dict[str, Any]:
    """What a process prints, if isolation adds so many millionths."""
    lines = {"again": "100 -100 0", "isolated": f"{isolated} " * 3, "planted": "19803 19800 19806"}
    row = {"policy": "Residual", "batch": 64, "clock": clock, "rounds": 4, "native_us": 100.0}
    return {"rows": [row | {"logs": dict.fromkeys(readings, lines)}]}


@pytest.mark.parametrize(("clock", "readings"), [("cpu", ("cpu", "wall")), ("events", ("events",))])
def test_rows_are_pooled_alike_on_all_devices(clock: str, readings: tuple[str, ...]) -> None:
    proofs = {("Residual", 64): {"opcodes": 1, "operators": 1, "differences": []}}
    (equal,) = gpu_forward._rows([taken(clock, readings, 0)] * 10, proofs)
    (slower,) = gpu_forward._rows([taken(clock, readings, 48790)] * 10, proofs)
    assert equal["verdict"] == "equal"
    assert slower["verdict"] == "slower by 5.0%"
    assert (equal["wall"] is None) is (clock == "events")
    figures = {"device": {"kind": "cuda"}, "processes": [{}] * 10, "rows": [equal, slower]}
    assert "| slower by 5.0% |" in forwardtable.gpu_forward([{"figures": figures}])


@pytest.mark.parametrize(
    ("seconds", "processes"), [(0.0, 20), (50.0, 12), (1000.0, 10)], ids=["quick", "slow", "late"]
)
def test_only_the_bounds_end_a_run(
    seconds: float, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def process(effort: Effort) -> dict[str, Any]:
        now[0] += seconds
        found = copy.deepcopy(taken("cpu", ("cpu", "wall"), 0))
        return found | {"seed": effort.seed, "order": [], "load": 0.0}

    proofs = {("Residual", 64): {"opcodes": 1, "operators": 1, "differences": []}}
    monkeypatch.setattr(gpu_forward, "_process", process)
    monkeypatch.setattr(gpu_forward, "_proofs", lambda where, batches: proofs)
    monkeypatch.setattr(gpu_forward, "device", lambda: "cpu")
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    figures = gpu_forward.measure(result.parser("gpu_forward").parse_args([]))
    assert [one["seed"] for one in figures["processes"]] == list(range(processes))
