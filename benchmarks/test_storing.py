from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.keeping import generated, git
from benchmarks.storing import ARMS, compare

if TYPE_CHECKING:
    from pathlib import Path


def test_every_arm_keeps_the_commits_and_gives_their_code(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    repo = generated(str(tmp_path / "repo"), 12, 3)
    commits = git(repo, "rev-list", "--reverse", "HEAD").decode().split()
    found = compare(repo, ["src"], commits, 1)
    report = found["arms"]
    # A peer that is not installed has no figure, and says so.
    assert len(report) + len(found["missing"]) == len(ARMS)
    assert {"codevault", "worktree", "control", "package"} <= set(report)
    assert min(found["fsync_ms"].values()) > 0
    assert {arm["modules"] for arm in report.values()} == {24}
    assert all(arm["warm_cpu_ms"] > 0 and arm["mb"] > 0 for arm in report.values())
    assert report["codevault"]["mb_each_further"] < 2.5
