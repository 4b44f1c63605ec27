"""Many processes and threads at once: no lock is needed for it, locks only save work."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest

from codevault_cache import Cache, Wanted, warm
from tests.forks import at_once

MANY = [pytest.mark.slow, pytest.mark.timeout(3000)]
SCRATCH = "/dev/shm" if os.path.isdir("/dev/shm") else None


def load(top: str, wanted: Wanted, code: bytes) -> None:
    cache = Cache.open(top)
    (snapshot,) = warm(cache, [wanted])
    tree = cache.tree(snapshot.digest)
    for path in tree.paths:
        content = tree.read(path)
        if Path(tree.location(path)).read_bytes() != content:
            raise AssertionError(f"{path} is laid out wrong")
    if cache.derived(snapshot.digest, "cp", lambda: code) != code:
        raise AssertionError("another code pack")


@pytest.mark.parametrize("rounds", [3, pytest.param(200, marks=MANY)])
@pytest.mark.parametrize("locks", ["work", "succeed for everybody"])
def test_I1_I6_sixteen_processes_load_one_cold_snapshot_at_once(
    locks: str, rounds: int, sample: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if locks != "work":
        monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    wanted = Wanted(str(sample.top), sample.git("rev-parse", "HEAD"))
    with tempfile.TemporaryDirectory(dir=SCRATCH) as first:
        load(first, wanted, b"code" * 99)  # what it imports is imported once for all forks
    for _ in range(rounds):
        top = tempfile.mkdtemp(dir=SCRATCH)
        try:
            assert at_once([lambda top=top: load(top, wanted, b"code" * 99)] * 16) == []  # type: ignore[misc]
            cache = Cache.open(top)
            assert cache.verify().ok
            assert [entry.files for entry in cache.ls()] == [7]
            assert os.listdir(os.path.join(top, "v1", "tmp")) == []
        finally:
            shutil.rmtree(top)


@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=MANY)])
@pytest.mark.parametrize("locks", ["work", "succeed for everybody"])
def test_I6_twelve_processes_fetch_twelve_commits_of_one_repository(
    locks: str,
    rounds: int,
    sample: Any,
    tmp_path: Path,
    git_daemon: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if locks != "work":
        monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    commits = [sample.commit({"src/agent/net.py": f"width = {n}\n"}) for n in range(12)]
    served = tmp_path / "served"
    served.mkdir()
    bare = sample.bare(served / "r.git")
    with (bare / "config").open("a") as file:
        file.write("[uploadpack]\n\tallowAnySHA1InWant = true\n\tallowFilter = true\n")
    url = git_daemon(served, "--max-connections=0").url + "/r.git"
    with tempfile.TemporaryDirectory(dir=SCRATCH) as first:
        load(first, Wanted(url, commits[0]), b"code")
    for _ in range(rounds):
        top = tempfile.mkdtemp(dir=SCRATCH)
        try:
            acts = [
                lambda top=top, commit=commit: load(top, Wanted(url, commit), b"code")
                for commit in commits
            ]
            assert at_once(acts) == []
            cache = Cache.open(top)
            assert cache.verify().ok
            assert {entry.snapshot.commit for entry in cache.ls()} == set(commits)
        finally:
            shutil.rmtree(top)


def test_I6_sixteen_threads_load_one_cold_snapshot_at_once(sample: Any, cache: Cache) -> None:
    wanted = Wanted(str(sample.top), sample.git("rev-parse", "HEAD"))
    barrier = threading.Barrier(16)
    errors: list[str] = []

    def run() -> None:
        barrier.wait()
        try:
            load(cache.roots[0], wanted, b"code" * 99)
        except BaseException:
            errors.append(traceback.format_exc())

    threads = [threading.Thread(target=run) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert cache.verify().ok
