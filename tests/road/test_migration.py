"""Policies of real releases of Stable-Baselines3 moved to the installed one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import codevault
from codevault.cli import main
from tests.road import zip_cases
from tests.road.releases import run_python

if TYPE_CHECKING:
    from pathlib import Path

    from tests.road.releases import Releases


def test_a_zip_of_an_old_release_plays_on_in_the_newest(releases: Releases, scratch: Path) -> None:
    """What convert laid over the old code is laid over the newer code too."""
    old, new = releases.all[0], releases.all[-1]
    folder = scratch / "moved"
    folder.mkdir()
    run_python(zip_cases.__file__, old.tree, folder)
    first, second = str(folder / "old.mpt"), str(folder / "new.mpt")
    code = ["--repo", str(releases.repo), "--commit", old.commit, "--roots", "."]
    made = CliRunner().invoke(main, ["convert", str(folder / "ppo.zip"), "-o", first, *code])
    assert made.exit_code == 0, made.output
    target = f"{releases.repo}@{new.commit}"
    moved = CliRunner().invoke(main, ["migrate", first, "--to", target, "-o", second])
    assert moved.exit_code == 0, moved.output
    manifest = codevault.read_manifest(second)
    assert manifest.commit == new.commit
    assert [move.commit for move in manifest.migrated] == [old.commit]
    policy = codevault.load_policy(second)
    assert torch.equal(zip_cases.given(policy), load_file(folder / "given.safetensors")["ppo"])
