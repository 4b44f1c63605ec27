"""`python -m benchmarks`: each in a process of its own, and no quick run is published."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

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


def test_every_benchmark_is_a_module() -> None:
    for name in page.SECTIONS:
        assert (command.HERE / "benchmarks" / f"{name}.py").is_file()


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["nothing"])
    assert "no benchmark 'nothing'; there are" in capsys.readouterr().err
