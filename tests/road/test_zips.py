"""Zips that real releases of Stable-Baselines3 wrote, converted with the code of that release."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import codevault
from codevault.cli import main
from tests.road import zip_cases
from tests.road.releases import run_python

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.road.releases import Release, Releases

CASES = [("2.0.0", "ppo"), ("2.0.0", "dict"), ("installed", "ppo")]
CASES += [("2.3.2", case) for case in zip_cases.CASES]


@pytest.fixture(scope="module")
def written(releases: Releases, scratch: Path) -> Callable[[str], tuple[Path, Release]]:
    """Gives a release, and the folder of the zips that it wrote."""

    @functools.cache
    def write(version: str) -> tuple[Path, Release]:
        release = releases.all[("2.0.0", "2.3.2", "installed").index(version)]
        folder = scratch / f"zips-{release.version}"
        folder.mkdir()
        run_python(zip_cases.__file__, release.tree, folder)
        return folder, release

    return write


@pytest.mark.parametrize(("version", "case"), CASES)
def test_zips_of_real_releases(
    written: Callable[[str], tuple[Path, Release]], releases: Releases, version: str, case: str
) -> None:
    folder, release = written(version)
    new = str(folder / f"{case}.mpt")
    code = ["--repo", str(releases.repo), "--commit", release.commit, "--roots", "."]
    result = CliRunner().invoke(main, ["convert", str(folder / f"{case}.zip"), "-o", new, *code])
    assert result.exit_code == 0, (result.output, result.exception)
    assert "restricted" in codevault.read_manifest(new).metadata["converted"]["unpickler"]
    policy = codevault.load_policy(new)
    assert type(policy).__module__.startswith("_splint_")
    expected = load_file(folder / "given.safetensors")[case]
    assert torch.equal(zip_cases.given(policy), expected)
    replayed = codevault.provenance(policy).probe
    assert replayed is not None
    assert replayed.ok
