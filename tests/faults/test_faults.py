"""A sample of all faults; `python -m tests.faults` runs every one and prints the counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import run, scenario, traced

HERE = Path(__file__).resolve().parents[2]


def test_I1_I3_I9_a_sample_of_every_kind_of_fault_leaves_no_bad_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(HERE)
    done = list(run.tallies(step=97))
    for tally in done:
        print(tally.line())
    assert [bad for tally in done for bad in tally.bad] == []
    assert all(tally.cases or tally.skipped for tally in done)
    assert sum(tally.cases for tally in done) > 100
    seen = {what for tally in done for what in tally.seen}
    # Every kind of ending was met: the faults did strike.
    assert {"killed and miss", "refused and miss", "done and hit"} <= seen


def test_a_state_that_must_not_be_is_noticed(tmp_path: Path) -> None:
    folder = str(tmp_path / "cache")
    with pytest.raises(AssertionError, match="silent"):
        scenario.judge(folder, "load", 0)
    scenario.perform(folder, "load")
    (victim,) = tmp_path.rglob("a.py")
    victim.chmod(0o644)
    victim.write_text("x = 3\n")
    with pytest.raises(AssertionError, match="a reader would meet"):
        scenario.judge(folder, "load", 0)


@pytest.mark.skipif(bool(traced.missing()), reason=traced.missing())
def test_the_window_holds_the_whole_protocol() -> None:
    names = [name for name, _ in traced.window("load")]
    for call in (
        "openat",
        "write",
        "fsync",
        "fchmod",
        "link",
        "unlink",
        "mkdir",
        "rename",
        "flock",
    ):
        assert any(call in name for name in names), call
    assert len(names) > 100


@pytest.mark.slow
def test_all_faults_leave_no_bad_state() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults"], cwd=HERE, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.splitlines()[-1].split()[0]) > 500
