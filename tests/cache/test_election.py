"""Many processes start cold at once: one asks the server, whatever locks do here."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from codevault_cache import Cache, Wanted, election, errors, is_reachable, paths, warm
from codevault_cache.removal import tmp_name
from codevault_cache.wanted import claim_key
from tests.forks import at_once, fork

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

RANKS = 16
KEY = "ab" * 32


@pytest.fixture(autouse=True)
def locks_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Lustre and some network file systems: everybody gets every lock."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)


@pytest.fixture
def served(sample: Any, tmp_path: Path, http_server: Any) -> Any:
    """A repository behind git's own HTTP program, which counts; two commits."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Served:
        commits = (sample.git("rev-parse", "HEAD"), sample.commit({"src/agent/net.py": "w = 4\n"}))
        bare = sample.bare(folder / "r.git")
        server = http_server(folder)
        url = server.url + "/r.git"

        def asked(self, act: Callable[[], None]) -> int:
            """How often the server is asked meanwhile."""
            self.server.requests.clear()
            act()
            return len(self.server.requests)

        def asked_together(self, *acts: Callable[[], None]) -> int:
            """How often it is asked by processes that all begin at once."""
            self.server.requests.clear()
            assert at_once(acts) == []
            return len(self.server.requests)

    with (Served.bare / "config").open("a") as file:
        file.write("[uploadpack]\n\tallowAnySHA1InWant = true\n\tallowFilter = true\n")
    return Served()


def load(top: Path, wanted: Sequence[Wanted]) -> None:
    cache = Cache.open(top)
    for snapshot in warm(cache, wanted):
        tree = cache.tree(snapshot.digest)
        for path in tree.paths:
            tree.read(path)


def whole(top: Path) -> None:
    cache = Cache.open(top)
    assert cache.verify().ok
    assert os.listdir(paths.tmp(str(top))) == []


def test_I6_sixteen_cold_processes_ask_the_server_as_often_as_one(
    served: Any, tmp_path: Path
) -> None:
    wanted = [Wanted(served.url, commit) for commit in served.commits]
    alone = served.asked(lambda: load(tmp_path / "alone", wanted))
    assert alone > 0
    for number in range(3):
        top = tmp_path / f"together-{number}"
        # Some want them in another order, and some only one of them: that one may begin first.
        several = [wanted, wanted[::-1], wanted, wanted[:1]] * (RANKS // 4)
        acts = [partial(load, top, each) for each in several]
        assert served.asked_together(*acts) <= 2 * alone
        whole(top)


def test_I6_sixteen_cold_processes_that_want_the_same_make_one_fetch(
    served: Any, tmp_path: Path
) -> None:
    wanted = [Wanted(served.url, commit) for commit in served.commits]
    alone = served.asked(lambda: load(tmp_path / "alone", wanted))
    for number in range(3):
        top = tmp_path / f"together-{number}"
        assert served.asked_together(*[partial(load, top, wanted)] * RANKS) == alone
        whole(top)


def test_I6_one_of_sixteen_proves_that_a_branch_leads_to_a_commit(
    served: Any, tmp_path: Path
) -> None:
    commit = served.commits[0]

    def prove(top: Path) -> None:
        assert is_reachable(Cache.open(top), served.url, commit)

    alone = served.asked(lambda: prove(tmp_path / "alone"))
    acts = [partial(prove, tmp_path / "together")] * RANKS
    assert served.asked_together(*acts) == alone > 0


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_I6_one_that_dies_or_stops_while_it_fetches_is_replaced(
    blow: signal.Signals, served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codevault_cache import origins

    monkeypatch.setattr(election, "STILL_SECONDS", 0.5)
    monkeypatch.setattr(election, "BEAT_SECONDS", 0.1)
    top, wanted = tmp_path / "cache", [Wanted(served.url, commit) for commit in served.commits]
    first = fork()
    if first == 0:
        origins.fetch_all = lambda *_: os.kill(os.getpid(), blow)  # type: ignore[assignment]
        load(top, wanted)
        os._exit(0)
    os.waitpid(first, os.WUNTRACED)
    try:
        assert os.listdir(paths.tmp(str(top)))  # its claims
        alone = served.asked(lambda: load(tmp_path / "alone", wanted))
        # One fetch, but for those who see the dead one's claim in the moment of its replacement.
        assert served.asked_together(*[partial(load, top, wanted)] * RANKS) < 4 * alone
    finally:
        if blow is signal.SIGSTOP:
            os.kill(first, signal.SIGKILL)
            os.waitpid(first, 0)
    whole(top)


def test_I6_claims_that_everybody_gets_cost_requests_and_nothing_else(
    served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def lying(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        return real(path, flags & ~os.O_EXCL if "claim-" in str(path) else flags, *rest, **more)

    monkeypatch.setattr(os, "open", lying)
    wanted = [Wanted(served.url, commit) for commit in served.commits]
    alone = served.asked(lambda: load(tmp_path / "alone", wanted))
    asked = served.asked_together(*[partial(load, tmp_path / "cache", wanted)] * RANKS)
    assert alone < asked <= RANKS * alone
    whole(tmp_path / "cache")


def test_I6_a_full_disk_leaves_no_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "write", full)
    got: list[str] = []
    election.once(str(tmp_path), [KEY], lambda key: key in got, got.extend)
    assert got == [KEY]
    assert os.listdir(paths.tmp(str(tmp_path))) == []


def test_I6_more_is_claimed_than_files_may_be_open(tmp_path: Path) -> None:
    keys = [f"{number:064x}" for number in range(300)]
    got: list[str] = []

    def get(some: Sequence[str]) -> None:
        assert len(os.listdir(paths.tmp(str(tmp_path)))) == len(keys)
        with open(os.devnull, "rb"):
            got.extend(some)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = len(os.listdir("/proc/self/fd")) + 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        election.once(str(tmp_path), keys, lambda key: key in got, get)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert got == keys
    assert os.listdir(paths.tmp(str(tmp_path))) == []


def test_I6_without_claims_everybody_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "v1").write_text("no folder can be made here")
    got: list[str] = []
    election.once(str(tmp_path), [KEY], lambda key: key in got, got.extend)
    assert got == [KEY]


def test_I6_after_a_failure_each_tries_once(tmp_path: Path) -> None:
    """What failed for one may work for another, who has other credentials."""
    tries: list[int] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        def get(_: Sequence[str]) -> None:
            tries.append(1)
            time.sleep(0.2)
            raise errors.Unreachable("no", "", "")

        barrier.wait()
        with pytest.raises(errors.Unreachable):
            election.once(str(tmp_path), [KEY], lambda _: False, get)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tries) == 4
    assert os.listdir(paths.tmp(str(tmp_path))) == []


def test_I9_a_claim_of_a_dead_process_is_no_wait(tmp_path: Path) -> None:
    pid = fork()
    if pid == 0:
        path = paths.claim(str(tmp_path), KEY)
        os.makedirs(os.path.dirname(path))
        with open(path, "w") as file:
            file.write(os.path.basename(tmp_name("")))
        os._exit(0)
    os.waitpid(pid, 0)
    got: list[str] = []
    election.once(str(tmp_path), [KEY], lambda key: key in got, got.extend)
    assert got == [KEY]
    assert os.listdir(paths.tmp(str(tmp_path))) == []


def test_offline_nobody_waits_for_a_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEVAULT_OFFLINE", "1")
    path = paths.claim(str(tmp_path), KEY)
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as file:
        file.write("1-00000000-another machine's")
    wanted = Wanted("http://127.0.0.1:9/r.git", "a" * 40)
    os.rename(path, paths.claim(str(tmp_path), claim_key(wanted) or ""))
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("waits"))
    with pytest.raises(errors.Offline):
        warm(Cache.open(tmp_path), [wanted])
