"""`publish`, and what other machines get of it by `CODEVAULT_MIRROR`."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner

import codevault
from codevault.cli import main
from codevault.cluster.publish import publish
from tests.codevault import servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.codevault.conftest import Fleet

pytestmark = pytest.mark.filterwarnings(  # of the client's libraries, when loops are closed
    "ignore::ResourceWarning",
    "ignore::DeprecationWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    s3fs = pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    with servers.s3() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem().mkdir("shared")
        yield "s3://shared/codevault"
        s3fs.S3FileSystem.clear_instance_cache()


def run(*arguments: str) -> tuple[int, list[dict[str, Any]], dict[str, Any]]:
    result = CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False)
    *rows, last = [json.loads(line) for line in result.stdout.splitlines()]
    return result.exit_code, rows, last["summary"]


def test_round_trip_through_s3(
    fleet: Fleet, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grants = [f"{fleet.repo}@{commit}" for commit in fleet.commits]
    monkeypatch.setenv("CODEVAULT_TRUST", " ".join(grants))
    runs, commit = str(fleet.folder / "run-*"), grants[0]
    code, rows, summary = run("publish", runs, commit, "--to", bucket)
    assert code == 0, rows
    keys = ["uri", "status", "splint", "bytes", "seconds", "error"]
    assert [list(row) for row in rows] == [keys] * 5  # the commit by itself has other roots
    assert {row["status"] for row in rows} == {"published"}
    assert summary == {
        "snapshots": 5,
        "failures": 0,
        "bytes": sum(row["bytes"] for row in rows),
    }
    code, rows, summary = run("publish", runs, commit, "--to", bucket)
    assert ({row["status"] for row in rows}, summary["bytes"]) == ({"there"}, 0)
    fleet.site.requests.clear()
    monkeypatch.setenv("CODEVAULT_MIRROR", bucket)
    monkeypatch.setenv("CODEVAULT_CACHE", str(tmp_path / "a node"))
    code, rows, summary = run("prefetch", runs)
    assert (code, {row["status"] for row in rows}) == (0, {"fetched"})
    assert summary["requests"] > 0
    assert summary["mirrored"] == summary["snapshots"] == 4
    assert fleet.site.requests == []
    policy = codevault.load_policy(fleet.named(2)[0])
    assert torch.is_tensor(policy(torch.ones(1, 4)))


@pytest.mark.parametrize("ranges", [True, False])
def test_a_commit_that_was_published_by_name_is_found_by_name(
    ranges: bool, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over plain HTTP, which a folder behind any web server is."""
    pytest.importorskip("aiohttp")
    named = f"{fleet.repo}@{fleet.commits[1]}"
    (done,) = publish([named], str(tmp_path / "mirror"))
    assert done.status == "published"
    fleet.site.requests.clear()
    with servers.web(tmp_path / "mirror", ranges=ranges) as site:
        monkeypatch.setenv("CODEVAULT_MIRROR", site.url)
        report = codevault.prefetch([named], cache=tmp_path / "a node")
        assert report.items[0].status == "fetched"
        assert report.bytes > 0
        assert site.requests
    assert fleet.site.requests == []


def test_a_commit_that_shares_names_is_had_without_its_repository(
    fleet: Fleet, walker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a grant for the commit, what the commit itself says it shares is looked up too."""
    stated = '[tool.codevault]\nroots = ["src"]\nshared = ["shared_env"]\n'
    commit = walker.commit({"pyproject.toml": stated})
    walker.git("push", "--quiet", "origin", "main")
    path = tmp_path / "sharing.mpt"
    with monkeypatch.context() as other:
        other.setenv("XDG_STATE_HOME", str(tmp_path / "somebody"))
        saved = codevault.save_policy(path, walker.load("walker.net").Walker())
    assert saved.shared == ("shared_env",)
    trust = [f"{fleet.repo}@{commit}"]
    (done,) = publish([path], str(tmp_path / "mirror"), trust=trust)
    assert done.error is None
    fleet.site.requests.clear()
    monkeypatch.setenv("CODEVAULT_MIRROR", str(tmp_path / "mirror"))
    assert codevault.prefetch([path], trust=trust, cache=tmp_path / "a node").ok
    assert fleet.site.requests == []


def test_many_writers_leave_a_whole_mirror(
    fleet: Fleet, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3fs = pytest.importorskip("s3fs")
    grants = [f"{fleet.repo}@{commit}" for commit in fleet.commits[:2]]
    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(publish, grants, bucket, cache=tmp_path / f"w{n}") for n in range(4)]
        done = [item for each in work for item in each.result()]
    assert [item.error for item in done] == [None] * 8
    store = s3fs.S3FileSystem()
    store.invalidate_cache()
    assert not [path for path in store.find("shared") if path.endswith(".tmp")]
    fleet.site.requests.clear()
    monkeypatch.setenv("CODEVAULT_MIRROR", bucket)
    assert codevault.prefetch(grants, cache=tmp_path / "a node").ok
    assert fleet.site.requests == []


def test_one_snapshot_that_is_named_in_two_ways_is_found_by_both(
    fleet: Fleet, walker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = walker.commit({"pyproject.toml": '[tool.codevault]\nroots = ["src"]\n'})
    walker.git("push", "--quiet", "origin", "main")
    path = tmp_path / "best.mpt"
    codevault.save_policy(path, walker.load("walker.net").Walker())
    names = [str(path), f"{fleet.repo}@{commit}"]
    told: list[str] = []
    done = publish(names, str(tmp_path / "mirror"), step=lambda item: told.append(item.uri))
    assert ([item.status for item in done], told) == (["published"], [str(path)])
    fleet.site.requests.clear()
    monkeypatch.setenv("CODEVAULT_MIRROR", str(tmp_path / "mirror"))
    assert codevault.prefetch(names[::-1], cache=tmp_path / "a node").ok
    assert fleet.site.requests == []


def test_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    """Its repository never answers; what was published is whole, and stays."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        stuck = f"http://127.0.0.1:{silent.getsockname()[1]}/r.git@{'1' * 40}"
        process = subprocess.Popen(
            [sys.executable, "-m", "codevault", "publish", stuck, "--to", str(tmp_path / "mirror")],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        with silent.accept()[0]:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command goes on" in said


def test_what_cannot_be_written_is_told(fleet: Fleet, bucket: str, tmp_path: Path) -> None:
    named = f"{fleet.repo}@{fleet.commits[0]}"
    code, rows, summary = run("publish", named, "--to", "s3://no-such-bucket/codevault")
    assert (code, rows[0]["status"], summary["snapshots"]) == (3, "failed", 0)
    assert "s3://no-such-bucket/codevault could not be written" in rows[0]["error"]["what"]
    code, rows, summary = run("publish", named, str(tmp_path / "none.mpt"), "--to", bucket)
    assert (code, [row["status"] for row in rows]) == (1, ["published", "failed"])
