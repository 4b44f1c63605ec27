"""Checkpoints of each released format load for ever, and give what they gave."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

import codevault
from codevault.checkpoint import open_checkpoint
from codevault.manifest import FORMAT
from tests.codevault.golden.make import OBS

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("v*/*.mpt"))


def test_each_format_has_golden_files() -> None:
    versions = {path.parent.name for path in FILES}
    assert versions == {f"v{number}" for number in range(1, FORMAT + 1)}


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
@pytest.mark.filterwarnings("ignore::codevault.ProbeWarning")
def test_a_golden_file_loads_and_gives_its_outputs(path: Path, tmp_path: Path) -> None:
    expected = json.loads((path.parent / "expected.json").read_text())[path.stem]
    manifest = codevault.read_manifest(path)
    policy = codevault.load_policy(path, trust=[f"sha256:{manifest.checkpoint_digest}"])
    found = policy.eval()(OBS)
    values = found["logits"] if isinstance(found, dict) else found
    torch.testing.assert_close(values, torch.tensor(expected))
    assert codevault.provenance(policy).manifest == manifest
    again = codevault.save_policy(tmp_path / "again.mpt", policy)
    assert (again.digest, again.weights) == (manifest.digest, manifest.weights)


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_any_zip_tool_reads_a_golden_file(path: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        assert {i.compress_type for i in file.infolist()} == {zipfile.ZIP_STORED}
        assert json.loads(file.read("manifest.json"))["format"] == int(path.parent.name[1:])
    if shutil.which("unzip"):
        subprocess.run(["unzip", "-tqq", path], check=True)
    assert open_checkpoint(path).members["weights.safetensors"].offset % 4096 == 0


def test_the_script_writes_the_present_format(tmp_path: Path) -> None:
    """It made the files of the present format, and makes files of the same bytes twice."""
    made = [tmp_path / "one", tmp_path / "two"]
    for folder in made:
        command = [sys.executable, "-m", "tests.codevault.golden.make", str(folder)]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    for path in sorted(made[0].glob("*.mpt")):
        again = made[1] / path.name
        assert codevault.read_manifest(path).format == FORMAT
        assert codevault.read_manifest(path).weights == codevault.read_manifest(again).weights
    names = {path.name for path in made[0].iterdir()}
    assert names == {path.name for path in (GOLDEN / f"v{FORMAT}").iterdir()}
