"""Zips that real releases of Stable-Baselines3 wrote: the release is found in the history."""

from __future__ import annotations

import shutil
import zipfile
from typing import TYPE_CHECKING

import pytest

from codevault.identify.identifying import Question, identify
from tests.road import zip_cases
from tests.road.releases import run_python

if TYPE_CHECKING:
    from pathlib import Path

    from tests.road.releases import Releases


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_release_is_found(releases: Releases, tmp_path: Path, number: int) -> None:
    release = releases.all[number]
    run_python(zip_cases.__file__, release.tree, tmp_path)
    for case in ("ppo", "sac", "dqn"):
        path = tmp_path / f"{case}.zip"
        (best, *_) = identify(Question(str(path), str(releases.repo))).ranking.ranges
        assert [commit.oid for commit in best.commits] == [release.commit], case
        # Without the version that the zip states, by its attributes and keys alone.
        bare = tmp_path / f"{case}-bare.zip"
        without(path, bare, "system_info.txt")
        (best, *_) = identify(Question(str(bare), str(releases.repo))).ranking.ranges
        assert release.commit in {commit.oid for commit in best.commits}, case
        assert best.misses == 0


def without(path: Path, bare: Path, name: str) -> None:
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(bare, "w") as new:
        for entry in old.infolist():
            if entry.filename != name:
                with old.open(entry) as source, new.open(entry.filename, "w") as target:
                    shutil.copyfileobj(source, target)
