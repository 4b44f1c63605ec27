"""`prefetch` on the nodes of a real Ray cluster on this machine, each with a cache of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

import codevault
from codevault.cli import main
from codevault.cluster import node
from codevault.cluster.parcel import Parcel, carried
from codevault.cluster.slurm import srun_line
from codevault.errors import CodevaultError, FetchError
from codevault.prefetchgroups import look
from codevault.prefetchrun import PrefetchItem, PrefetchReport
from codevault.version import VERSION
from codevault_cache import Cache

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.codevault.conftest import Fleet

NODES = 3


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["prefetch", *arguments], catch_exceptions=False)


def parcel_of(fleet: Fleet, trust: list[str], mirror: str = "") -> Parcel:
    looks = [carried(look(name, trust, "")) for name in fleet.named(0, 1)]
    report, parcel = node.read(pickle.loads(pickle.dumps(looks)), mirror, None, "")
    assert report.ok, report.failures
    carried_over: Parcel = pickle.loads(pickle.dumps(parcel))
    return carried_over


def test_what_one_node_read_another_takes_and_loads_without_git(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a grant for the repository: its proof goes along."""
    parcel = parcel_of(fleet, [fleet.repo])
    fleet.site.requests.clear()
    monkeypatch.setenv("CODEVAULT_CACHE", str(tmp_path / "another node"))
    monkeypatch.setenv("CODEVAULT_TRUST", fleet.repo)
    report = node.take(parcel, "nightly")
    assert [item.status for item in report.items] == ["fetched"] * 2
    assert (report.ok, report.requests) == (True, 0)
    again = node.take(parcel, "")
    assert [item.status for item in again.items] == ["hit"] * 2
    monkeypatch.setenv("CODEVAULT_OFFLINE", "1")
    codevault.load_policy(fleet.named(1)[0])
    assert fleet.site.requests == []
    assert [entry.pinned for entry in Cache.open(None).ls()] == [True, True]


@pytest.mark.parametrize("damage", ["bytes", "missing", "another's"])
def test_what_was_damaged_on_the_way_is_no_code(
    damage: str, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel = parcel_of(fleet, [fleet.repo])
    packs = sorted(path for path in parcel.files if path.endswith(".cvs"))
    files = dict(parcel.files)
    if damage == "bytes":
        files[packs[0]] = files[packs[0]][:-1] + b"?"
    elif damage == "missing":
        del files[packs[0]]
    else:
        files[packs[0]] = files[packs[1]]
    monkeypatch.setenv("CODEVAULT_CACHE", str(tmp_path / "another node"))
    fleet.site.requests.clear()
    report = node.take(Parcel(parcel.orders, "", files), "")
    assert sorted(item.status for item in report.items) == ["failed", "fetched"]
    (failed,) = report.failures
    assert isinstance(failed.error, FetchError)
    assert pickle.loads(pickle.dumps(failed.error)).diagnostics() == failed.error.diagnostics()
    assert fleet.site.requests == []


def test_a_node_that_took_its_code_from_another_can_read_for_the_next(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What proves a commit is git's to say: it asks for that alone, and only here."""
    looks = [look(f"{fleet.repo}@{fleet.commits[0]}", None, "")]
    _, first = node.read(looks, "", None, "")
    monkeypatch.setenv("CODEVAULT_CACHE", str(tmp_path / "second"))
    assert node.take(first, "").ok
    fleet.site.requests.clear()
    report, parcel = node.read(looks, "", None, "")
    assert [item.status for item in report.items] == ["hit"]
    assert fleet.site.requests
    fleet.site.requests.clear()
    monkeypatch.setenv("CODEVAULT_CACHE", str(tmp_path / "third"))
    assert node.take(parcel, "").ok
    assert fleet.site.requests == []


def test_what_cannot_be_passed_on_fails_by_itself(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mirror").write_text("no folder")
    looks = [carried(look(name, [fleet.repo], "")) for name in fleet.named(0, 1)]
    report, parcel = node.read(looks, str(tmp_path / "mirror"), None, "")
    assert ([item.status for item in report.items], parcel.orders) == (["failed"] * 2, ())
    assert all("could not be written" in str(item.error) for item in report.items)
    monkeypatch.setenv("CODEVAULT_OFFLINE", "1")
    assert codevault.prefetch(fleet.named(0, 1), trust=[fleet.repo]).ok


def test_a_node_with_another_version_says_so() -> None:
    assert node.act(VERSION, "x".join, "ab") == "axb"
    with pytest.raises(CodevaultError, match="another codevault than the command") as caught:
        node.act("0.0.1", "x".join, "ab")
    assert caught.value.hint == "python -m pip install codevault==0.0.1"


def test_srun_line(fleet: Fleet, tmp_path: Path) -> None:
    words = ["s3://runs/**/*.mpt", "--pin", "nightly"]
    (line,) = run(*words, "--jobs", "8", "--json", "--slurm").output.splitlines()
    assert line == srun_line(["s3://runs/**/*.mpt", "--jobs", "8", "--pin", "nightly", "--json"])
    assert run("--slurm").exit_code == 2
    assert run("x.mpt", "--slurm", "--ray", "auto").exit_code == 2
    assert run("x.mpt", "--deadline", "3").exit_code == 2
    # A shell that has been told who srun is runs one prefetch on each of two nodes.
    (tmp_path / "srun").write_text(
        '#!/bin/sh\nshift 4\nfor node in 1 2; do CODEVAULT_CACHE=$PWD/$node "$@" || exit; done\n'
    )
    (tmp_path / "srun").chmod(0o755)
    (line,) = run(f"{fleet.repo}@{fleet.commits[0]}", "--json", "--slurm").output.splitlines()
    here = f"{tmp_path}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": here, "SLURM_JOB_NUM_NODES": "2"}
    done = subprocess.run(
        ["sh", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    rows = [json.loads(text) for text in done.stdout.splitlines()]
    assert [row.get("status") for row in rows] == ["fetched", None] * 2, done.stderr
    assert Cache.open(tmp_path / "2").verify().ok


@contextlib.contextmanager
def ray_cluster(top: Path, env: dict[str, str]) -> Iterator[tuple[str, list[Any]]]:
    """A head and other nodes, each with `CODEVAULT_CACHE` of its own; its address."""
    pytest.importorskip("ray", reason="Ray has no wheel for this platform")
    from ray.cluster_utils import Cluster

    state = tempfile.mkdtemp(prefix="ray-")  # its sockets' names must be short
    small: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}
    small["node_ip_address"] = "127.0.0.2"  # Ray puts the machine's own address for 127.0.0.1
    # Who does not listen is dead after 5 s, and who listens and says nothing after 10 minutes.
    health = {"health_check_failure_threshold": 10, "health_check_period_ms": 500}
    health |= {"health_check_timeout_ms": 60_000}
    cluster: Any = Cluster()
    nodes: list[Any] = []
    before = os.environ.get("RAY_TMPDIR")
    os.environ["RAY_TMPDIR"] = state
    try:
        for number in range(NODES):
            own = env | {"CODEVAULT_CACHE": str(top / f"node-{number}")}
            head = {} if number else {"include_dashboard": False, "_system_config": health}
            nodes.append(cluster.add_node(env_vars=own, **small, **head))
        cluster.wait_for_nodes()
        yield cluster.address, nodes
    finally:
        cluster.shutdown()
        del os.environ["RAY_TMPDIR"]
        if before is not None:
            os.environ["RAY_TMPDIR"] = before
        shutil.rmtree(state, ignore_errors=True)


def prefetch_nodes(address: str, *arguments: str, deadline: int = 200) -> tuple[int, list[Any]]:
    command = [sys.executable, "-m", "codevault", "prefetch", *arguments, "--json"]
    command += ["--ray", address, "--deadline", str(deadline)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.stdout, done.stderr[-3000:]
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_every_node_of_a_ray_cluster(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEVAULT_TRUST", fleet.repo)
    named = fleet.named(0, 1, 2)
    assert run(*named).exit_code == 0  # by itself, on this machine
    alone = len(fleet.site.requests)
    fleet.site.requests.clear()
    env = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    with ray_cluster(tmp_path, env) as (address, nodes):
        code, rows = prefetch_nodes(address, *named, "--pin", "nightly")
        *answers, last = rows
        assert (code, last["summary"]["ready"]) == (0, NODES), rows
        assert len(fleet.site.requests) == alone, "only one node talks to git"
        found = [row["node"] for row in answers]
        assert [each["source"] for each in found] == ["git", *["object store"] * (NODES - 1)]
        assert [each["requests"] for each in found[1:]] == [0] * (NODES - 1)
        assert {each["snapshots"] for each in found} == {3}
        keys = ["node", "id", "status", "source", "items", "snapshots", "requests", "bytes"]
        assert [list(each) for each in found] == [[*keys, "seconds", "error", "failures"]] * NODES
        for number in range(NODES):
            cache = Cache.open(tmp_path / f"node-{number}")
            assert cache.verify().ok
            assert [entry.pinned for entry in cache.ls()] == [True] * 3

        # The second is late: it was stopped, as a node with a hanging disk is.
        raylet = nodes[1].all_processes["raylet"][0].process
        raylet.send_signal(signal.SIGSTOP)
        missing = str(tmp_path / "none.mpt")
        code, rows = prefetch_nodes(address, *named, missing, deadline=40)
        assert (code, by_status(rows)) == (3, {"ready": 2, "late": 1}), rows
        assert [row["uri"] for row in rows if "uri" in row] == [missing]

        # Then it is dead. The others have a new snapshot from the mirror.
        raylet.send_signal(signal.SIGCONT)
        raylet.send_signal(signal.SIGKILL)
        fleet.site.requests.clear()
        monkeypatch.setenv("CODEVAULT_MIRROR", str(tmp_path / "mirror"))
        code, rows = prefetch_nodes(address, *fleet.named(3))
        # Ray may know that it is gone before the first look.
        assert by_status(rows) in ({"ready": 2, "dead": 1}, {"ready": 2}), rows
        sources = [row["node"]["source"] for row in rows if "node" in row]
        assert sources[:2] == ["git", "mirror"]
        assert 0 < len(fleet.site.requests) <= alone
        assert (tmp_path / "mirror/v1/src").is_dir()


def by_status(rows: list[Any]) -> dict[str, int]:
    return dict(Counter(row["node"]["status"] for row in rows if "node" in row))


def test_no_cluster_is_told_at_once(fleet: Fleet) -> None:
    pytest.importorskip("ray", reason="Ray has no wheel for this platform")
    result = run(*fleet.named(0), "--ray", "127.0.0.1:9")
    assert result.exit_code == 3
    assert "there is no Ray cluster at 127.0.0.1:9" in result.output


class FakeRay:
    """A cluster whose tasks run here and at once, on nodes with a will of their own."""

    def __init__(self, wills: dict[str, Any]) -> None:
        self.wills = wills
        self.asked: list[tuple[str, str]] = []

    def nodes(self) -> list[dict[str, Any]]:
        known = {"Alive": True, "Resources": {}, "NodeManagerHostname": "host"}
        return [known | {"NodeID": name * 56} for name in self.wills]

    def remote(self, **_: Any) -> Any:
        ray = self

        class Task:
            def __init__(self, function: Any) -> None:
                self.function = function

            def options(self, *, num_returns: int, scheduling_strategy: Any, **_: Any) -> Any:
                self.returns, self.where = num_returns, scheduling_strategy.node_id[0]
                return self

            def remote(self, version: str, what: Any, *_: Any) -> Any:
                assert (self.function, version) == (node.act, VERSION)
                ray.asked.append((self.where, what.__name__))
                answer = (self.where, what.__name__)
                return (answer, "parcel") if self.returns == 2 else answer

        return Task

    def wait(self, answers: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        ready = [each for each in answers if self.wills[each[0]] is not None]
        return ready, [each for each in answers if each not in ready]

    def get(self, answer: Any, timeout: float) -> Any:
        will = self.wills[answer[0]]
        if isinstance(will, Exception):
            raise will
        return will

    def cancel(self, answer: Any, *, force: bool) -> None:
        self.asked.append((answer[0], "cancel"))


def job(wills: dict[str, Any]) -> tuple[dict[str, str], FakeRay]:
    """What becomes of nodes with such wills: a report, an error, or None for no answer."""
    pytest.importorskip("ray", reason="Ray has no wheel for this platform")
    from codevault.cluster.ray import _Job

    fake = FakeRay(wills)
    work = _Job(fake, time.monotonic() + 0.2, None)
    work.serve(work.parcel([], "", None, ""), "object store", "")
    return {name[0]: done.status for name, done in work.done.items()}, fake


READY = PrefetchReport((PrefetchItem("a", "hit", "_splint_x", None, 0.0),))
EMPTY = PrefetchReport((PrefetchItem("a", "failed", "", FetchError("no"), 0.0),))


def test_another_node_reads_where_one_cannot() -> None:
    from ray.exceptions import NodeDiedError

    ways: dict[str, Any] = {"a": EMPTY, "b": NodeDiedError(""), "c": READY, "d": READY}  # type: ignore[no-untyped-call]
    found, fake = job(ways)
    assert found == {"a": "failed", "b": "dead", "c": "ready", "d": "ready"}
    assert fake.asked == [("a", "read"), ("b", "read"), ("c", "read"), ("d", "take")]


def test_no_node_is_ready_where_none_can_read_and_git_does_not_meet_all() -> None:
    found, fake = job(dict.fromkeys("abcdef", EMPTY))
    assert found == dict.fromkeys("abcdef", "failed")
    assert len(fake.asked) == 3


def test_who_does_not_answer_in_time_is_late_and_let_go() -> None:
    found, fake = job({"a": None, "b": READY, "c": None})
    assert found == {"a": "late", "b": "ready", "c": "late"}
    assert ("a", "cancel") in fake.asked
    assert ("c", "cancel") in fake.asked
