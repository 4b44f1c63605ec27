"""A commit belongs to a repository if one of its branches or tags leads to it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from codevault_cache import Cache, Wanted, collect, errors, is_reachable, paths, reachability, warm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def served(sample: Any, tmp_path: Path, http_server: Any, git_daemon: Any) -> Callable[[str], Any]:
    """A repository with an old commit, a tagged one, and a pull request that nobody merged."""
    sample.commits = {"old": sample.git("rev-parse", "HEAD")}
    sample.commits["tip"] = sample.commit({"README.md": "newer"})
    sample.git("checkout", "-q", "-b", "side")
    sample.commits["tagged"] = sample.commit({"README.md": "tagged"})
    sample.git("tag", "-a", "-m", "release", "v1")
    sample.git("checkout", "-q", "main")
    sample.git("branch", "-q", "-D", "side")
    sample.git("checkout", "-q", "-b", "pull")
    sample.commits["pull request"] = sample.commit({"README.md": "by a stranger"})
    sample.git("update-ref", "refs/pull/1/head", "HEAD")
    sample.git("checkout", "-q", "main")
    sample.git("branch", "-q", "-D", "pull")
    folder = tmp_path / "served"
    folder.mkdir()
    bare = sample.bare(folder / "r.git")
    sample.git("push", "-q", str(bare), "refs/pull/1/head:refs/pull/1/head")
    for key in ("uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter"):
        import subprocess

        subprocess.run(["git", "-C", str(bare), "config", key, "true"], check=True)

    def at(kind: str) -> Any:
        if kind == "local":
            return str(bare), lambda: None
        server = {"http": http_server, "git": git_daemon}[kind](folder)
        return f"{server.url}/r.git", server.stop

    return at


@pytest.mark.parametrize("kind", ["local", "http", "git"])
def test_only_branches_and_tags_count(kind: str, served: Any, sample: Any, cache: Cache) -> None:
    url, _ = served(kind)
    for name in ("old", "tip", "tagged"):
        assert is_reachable(cache, url, sample.commits[name]), name
    stranger = sample.commits["pull request"]
    warm(cache, [Wanted(url, stranger)])  # hosts do serve it
    assert not is_reachable(cache, url, stranger)
    assert not is_reachable(cache, url, "0" * 40)


def test_a_proof_is_written_down_once(
    served: Any, sample: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, stop = served("http")
    assert is_reachable(cache, url, sample.commits["old"])
    stop()
    assert is_reachable(cache, url, sample.commits["old"])
    assert is_reachable(Cache.open(["/nonexistent", *cache.roots]), url, sample.commits["old"])
    with pytest.raises(errors.Unreachable):
        is_reachable(cache, url, sample.commits["tip"])
    monkeypatch.setenv("CODEVAULT_OFFLINE", "1")
    with pytest.raises(errors.Offline, match="trust add"):
        is_reachable(cache, url, sample.commits["tip"])


def test_a_proof_that_others_could_write_does_not_count(
    served: Any, sample: Any, cache: Cache
) -> None:
    url, stop = served("http")
    is_reachable(cache, url, sample.commits["old"])
    stop()
    from pathlib import Path

    (proof,) = Path(paths.proof(cache.roots[0], "x")).parent.iterdir()
    proof.chmod(0o666)
    with pytest.raises(errors.Unreachable):
        is_reachable(cache, url, sample.commits["old"])
    proof.chmod(0o644)
    proof.write_bytes(proof.read_bytes().replace(b"old", b"new") + b"x")
    with pytest.raises(errors.Unreachable):
        is_reachable(cache, url, sample.commits["old"])


def test_proofs_are_collected_long_after_their_last_use(
    sample: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_reachable(cache, str(sample.top), sample.git("rev-parse", "HEAD"))
    folder = paths.proofs(cache.roots[0])
    (name,) = os.listdir(folder)
    day = 24 * 3600.0

    def aged(days: float) -> None:
        then = time.time() - days * day
        os.utime(os.path.join(folder, name), (then, then))

    aged(399)
    collect.collect(collect.plan(cache, max_size=0, max_age=0))
    assert os.listdir(folder) == [name]
    assert is_reachable(cache, str(sample.top), sample.git("rev-parse", "HEAD"))
    assert os.stat(os.path.join(folder, name)).st_mtime > time.time() - day
    aged(401)
    (item,) = collect.plan(cache).items
    assert item.kind == "proof"
    collect.collect(collect.plan(cache))
    assert os.listdir(folder) == []


def test_a_server_that_sends_files_with_every_commit_says_what_to_grant(
    served: Any, sample: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = served("http")
    monkeypatch.setattr(reachability, "_PACK_BYTES", 100)
    commit = sample.commits["old"]
    with pytest.raises(errors.TooLarge) as caught:
        is_reachable(cache, url, commit)
    assert caught.value.hint == f"codevault trust add {url}@{commit}"
