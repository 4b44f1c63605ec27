"""The command: verbs, JSON, and exit codes 0 ok, 1 finding, 2 usage, 3 fetch, 4 refused."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner

import codevault
from codevault import packages
from codevault.cli import main

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


@pytest.fixture
def best(walker: Any, tmp_path: Path) -> str:
    codevault.save_policy(
        tmp_path / "best.mpt", walker.net.Walker(), probe=torch.ones(1, 4), metadata={"epoch": 3}
    )
    return str(tmp_path / "best.mpt")


def test_show(best: str, walker: Any) -> None:
    text = run("show", best).output
    for part in (walker.head, "src", "1 inputs, 1 outputs", "torch", "epoch", "sha256:"):
        assert part in text
    data = json.loads(run("show", best, "--json").output)
    assert data["commit"] == walker.head
    assert data["bytes"] == os.path.getsize(best)
    assert data["members"]["weights.safetensors"] > 100
    assert {row["word"] for row in data["verdicts"]} == {"same"}
    manifest = codevault.read_manifest(best).model_dump(mode="json")
    assert {key: data[key] for key in manifest} == manifest


def test_show_is_one_screen(walker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        walker.write({f"src/walker/part_{number}.py": "x = 1\n"})
    old = {"numpy": "1.26.4", "torch": "2.4.0", "gone": "1.0"} | {f"p{n}": "1" for n in range(9)}
    monkeypatch.setattr(packages, "used_by", lambda _: old)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    metadata = {f"key{n}": "x" * 300 for n in range(30)}
    path = str(tmp_path / "best.mpt")
    spare = torch.nn.ModuleList([walker.net.Walker(), torch.nn.Linear(2, 2)])
    policy = walker.net.Walker()
    policy.spare = spare
    codevault.save_policy(
        path,
        policy,
        architecture={"class_path": "walker.net:Walker"},
        probe=[torch.ones(1, 4)] * 2,
        metadata=metadata,
    )
    text = run("show", path).output
    lines = text.splitlines()
    assert len(lines) <= 32
    assert max(map(len, lines)) <= 140
    for part in (
        f"@ {walker.head}",
        "9 uncommitted or unpushed: src/walker/part_0.py",
        "2 steps, 2 inputs, 2 outputs; not covered: 6 parameters (spare.0.body.weight",
        "same: python",
        "  gone      missing: 1.0, not installed here",
        "  numpy     suspect: 1.26.4, here ",
        "more suspect or missing",
        "26 more entries of metadata",
        "kB of it weights",
    ):
        assert part in text
    verdicts = json.loads(run("show", path, "--json").output)["verdicts"]
    assert {row["package"]: row["word"] for row in verdicts}["numpy"] == "suspect"


def test_verify(best: str) -> None:
    result = run("verify", best)
    assert result.exit_code == 0
    assert "equal, 1 outputs" in result.output
    data = json.loads(run("verify", best, "--json").output)
    assert (data["ok"], data["uncovered"]) == (True, [])


def test_verify_without_probe_is_a_finding(walker: Any, tmp_path: Path) -> None:
    codevault.save_policy(tmp_path / "best.mpt", walker.net.Walker())
    with pytest.warns(codevault.ProbeWarning):
        result = run("verify", str(tmp_path / "best.mpt"))
    assert result.exit_code == 1
    assert "none recorded" in result.output


def test_exit_codes(best: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("show").exit_code == 2
    assert run("nonsense").exit_code == 2
    result = run("show", str(tmp_path / "missing.mpt"))
    assert result.exit_code == 1
    assert "missing.mpt" in result.stderr
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "somebody"))
    refused = run("verify", best)
    assert refused.exit_code == 4
    assert "codevault trust add sha256:" in refused.stderr


def test_trust_verbs() -> None:
    assert "no grants" in run("trust", "ls").output
    assert run("trust", "add", "git@github.com:a/b.git").exit_code == 0
    run("trust", "add", "https://github.com/a/b", f"sha256:{'1' * 64}")
    assert json.loads(run("trust", "ls", "--json").output) == [
        "https://github.com/a/b",
        f"sha256:{'1' * 64}",
    ]
    assert run("trust", "rm", "ssh://git@github.com/a/b").exit_code == 0
    assert run("trust", "rm", "https://github.com/a/b").exit_code == 1
    assert run("trust", "add", "https://github.com/a/../b").exit_code == 2
    assert run("trust", "add", "https://github.com/a/b", "--signed-by", "nobody").exit_code == 2


def test_demo(capfd: pytest.CaptureFixture[str]) -> None:
    result = run("demo")
    assert result.exit_code == 0
    for part in ("Missing key(s)", "_splint_", "1 recorded output(s) reproduced", "forward:"):
        assert part in result.output
    data = json.loads(run("demo", "--json").output)
    assert data["equal"] is True
    assert data["old"].startswith("_splint_")
    assert data["new"] == "walker.net.Walker"
