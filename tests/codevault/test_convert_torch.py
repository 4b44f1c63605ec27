"""Files that other releases of torch wrote: golden_torch/make.py says how."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

import codevault
from tests.codevault.old_files import run

if TYPE_CHECKING:
    from tests.codevault.conftest import Project

GOLDEN = Path(__file__).parent / "golden_torch"
VERSIONS = ("1.7.1", "1.13.1", "2.6.0")
OBS = torch.arange(12.0).reshape(3, 4) / 10
CLASS = ("--class", "crawler:Crawler")
PROBE = ("--probe", "float32[3,4]")


@pytest.fixture
def code(project: Project) -> tuple[str, ...]:
    head = project.commit({"crawler.py": (GOLDEN / "crawler.py").read_bytes()})
    return ("--repo", str(project.top), "--commit", head, "--roots", ".")


def given(version: str, name: str = "crawler") -> torch.Tensor:
    return torch.tensor(json.loads((GOLDEN / f"{version}.json").read_text())[name])


def outputs(path: Path) -> torch.Tensor:
    policy = codevault.load_policy(path).eval()
    with torch.no_grad():
        found: torch.Tensor = policy(OBS)
    return found


@pytest.mark.parametrize("kind", ["state", "runner", "policy"])
@pytest.mark.parametrize("version", VERSIONS)
def test_files_of_other_torch_releases(
    code: tuple[str, ...], tmp_path: Path, version: str, kind: str
) -> None:
    old, new = GOLDEN / f"{version}-{kind}.pt", tmp_path / "new.mpt"
    how = () if kind == "policy" else CLASS
    run(old, "-o", new, *code, *how, *PROBE)
    torch.testing.assert_close(outputs(new), given(version), rtol=1e-5, atol=1e-6)
    came = codevault.read_manifest(new).metadata["converted"]
    assert came["unpickler"] == "restricted"


@pytest.mark.parametrize("version", ["1.7.1", "1.13.1"])
def test_files_in_the_form_before_torch_1_6(
    code: tuple[str, ...], tmp_path: Path, version: str
) -> None:
    new = tmp_path / "new.mpt"
    run(GOLDEN / f"{version}-early.pt", "-o", new, *code, *PROBE)
    torch.testing.assert_close(outputs(new), given(version), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("version", VERSIONS)
def test_policies_of_modules_that_have_changed(
    code: tuple[str, ...], tmp_path: Path, version: str
) -> None:
    """Where today's torch cannot run the object of an old one, that is said: nothing is guessed."""
    old, new = GOLDEN / f"{version}-later.pt", tmp_path / "new.mpt"
    if version == "1.7.1":
        result = run(old, "-o", new, *code, *PROBE, code=1)
        assert "could not be run to compare" in result.stderr
        words = shlex.split(result.stderr.partition("do:  ")[2].partition("  #")[0])[2:]
        assert "not compared with the policy in the file" in run(*words).stdout
    else:
        result = run(old, "-o", new, *code, *PROBE)
        assert "it gives what the policy in the file gives" in result.stdout
    torch.testing.assert_close(outputs(new), given(version, "later"), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("version", VERSIONS)
def test_torchs_own_default_refuses_what_is_converted(version: str) -> None:
    """Since 2.6 torch.load reads weights only, unless each class is declared safe."""
    with pytest.raises(Exception, match=r"Weights only load failed[\s\S]*crawler\.Crawler"):
        torch.load(GOLDEN / f"{version}-policy.pt")
    assert torch.load(GOLDEN / f"{version}-state.pt")["scale"] == 0.5


def test_golden_files_are_small() -> None:
    assert max(path.stat().st_size for path in GOLDEN.iterdir() if path.is_file()) < 50_000
