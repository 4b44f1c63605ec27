"""`codevault migrate --workspace`: all that a hard case needs, and a check that nothing fools."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import torch
from click.testing import CliRunner

import codevault
from codevault.cli import main
from codevault.rehearsal import our_folders
from tests.codevault.conftest import WALKER
from tests.codevault.migration.test_suggest import MOVED

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def run(*words: str) -> Any:
    return CliRunner().invoke(main, ["migrate", *words])


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(our_folders())}
    return subprocess.run(
        [folder / "check"], env=environment, capture_output=True, text=True, check=False, cwd="/"
    )


def test_a_workspace_has_both_trees_and_a_check_that_only_the_probe_passes(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.commit(dict(WALKER))
    policy = project.load("walker.net").Walker()
    codevault.save_policy(tmp_path / "a.mpt", policy, probe=torch.randn(3, 4))
    project.commit({**MOVED, "src/walker/scale.py": "SCALE = 3.0\n"})
    monkeypatch.chdir(tmp_path)
    words = ("a.mpt", "--to", "project", "--workspace", "work", "--json")
    made = run(*words)
    assert made.exit_code == 0, made.output
    data = json.loads(made.output)
    assert set(data) == {"workspace", "check", "note"}
    work = tmp_path / "work"
    assert sorted(os.listdir(work)) == [
        *("README.md", "check", "code.diff", "diagnosis.txt", "keys.txt"),
        *("new", "old", "rules.toml"),
    ]
    assert (work / "old/src/walker/net.py").exists()
    assert (work / "new/src/walker/nets.py").exists()
    assert "-SCALE = 2.0\n+SCALE = 3.0\n" in (work / "code.diff").read_text()
    assert "body.weight [8, 4] torch.float32\n" in (work / "keys.txt").read_text()
    assert "[5] probe" in (work / "diagnosis.txt").read_text()
    failed = check(work)
    assert failed.returncode == 1
    assert "outputs differ" in failed.stderr
    project.write({"src/walker/scale.py": "SCALE = 2.0\n"})  # the fix, in the work tree itself
    passed = check(work)
    assert passed.returncode == 0, passed.stderr
    assert "probe    agrees" in passed.stdout
    assert run(*words).exit_code == 2, "a workspace is never written over"


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    assert run("a.mpt", "--workspace", "w", "--dry-run").exit_code == 2
    assert run("a.mpt", "--workspace", "w", "--accept-drift").exit_code == 2
    assert run("a.mpt", "--suggest", "-o", "b.mpt").exit_code == 2
