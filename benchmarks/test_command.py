"""`python -m benchmarks`: each in a process of its own, and no quick run is published."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import __main__ as command
from benchmarks import page

if TYPE_CHECKING:
    from pathlib import Path


def test_a_quick_run_measures_and_publishes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    text = (command.DOCS / "benchmarks.md").read_text()
    before = {file.name: file.read_bytes() for file in command.RESULTS.iterdir()}
    assert command.main(["startup", "--quick"]) == 0
    assert "== startup" in capfd.readouterr().out
    assert {file.name: file.read_bytes() for file in command.RESULTS.iterdir()} == before
    assert (command.DOCS / "benchmarks.md").read_text() == text


def test_variables_of_python_do_not_reach_a_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONSTARTUP_OF_A_TEST", "x")
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")  # no interpreter would start with it
    file = tmp_path / "startup.json"
    assert command.run("startup", file, ["--quick"]) == 0
    assert json.loads(file.read_text())["benchmark"] == "startup"
    assert os.environ["PYTHONHOME"] == "/nonexistent"


def test_a_benchmark_that_breaks_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "run", lambda name, file, options: 7)
    assert command.failures(["startup"], tmp_path, []) == ["startup failed with exit code 7"]


def test_a_missed_count_fails_and_a_missed_time_does_not() -> None:
    rows = [{"modules": 9, "opens": 4, "calls": 37}, {"modules": 60, "opens": 5, "calls": 81}]
    assert command.exact("warm_load", {"rows": rows}) == ["60 modules: 5 opens, 81 calls"]
    assert command.exact("warm_load", {"rows": rows[:1]}) == []
    slow = {"policy": "P", "differences": [], "verdict": "slower by 9.0%"}
    assert command.exact("gpu_forward", {"rows": [slow]}) == []
    found = command.exact("gpu_forward", {"rows": [{**slow, "differences": ["opcodes"]}]})
    assert found == ["P: ['opcodes']"]
    asked: dict[str, Any] = {"requests": {"first": 8, "second": 1}, "ms_a_uri": {"prefetch": 9.0}}
    assert command.exact("second_prefetch", asked) == ["a second prefetch asked 1 times"]
    asked["requests"]["second"] = 0
    assert command.exact("second_prefetch", asked) == []


def test_every_benchmark_is_a_module() -> None:
    for name in page.SECTIONS:
        assert (command.HERE / "benchmarks" / f"{name}.py").is_file()


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["nothing"])
    assert "no benchmark 'nothing'; there are" in capsys.readouterr().err
