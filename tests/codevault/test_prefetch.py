"""`prefetch`: what is named, what is asked of servers, and what is told of it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner

import codevault
from codevault.checkpoint import open_checkpoint
from codevault.cli import main
from codevault.cli.prefetch import other_python
from codevault.errors import MissingCheckpointError
from codevault.prefetchgroups import fetch_together, find_ready, look, make_ready
from codevault.targets import targets
from codevault_cache import Cache, collect
from codevault_cache.errors import CacheError
from tests.codevault import servers, terminals

if TYPE_CHECKING:
    from tests.codevault.conftest import Fleet


def run(*arguments: str, stdin: str | None = None) -> Any:
    return CliRunner().invoke(main, list(arguments), input=stdin, catch_exceptions=False)


def parsed(result: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The items and the summary of `--json`."""
    *rows, last = [json.loads(line) for line in result.stdout.splitlines()]
    return rows, last["summary"]


def only(*arguments: str) -> dict[str, Any]:
    (row,), _ = parsed(run(*arguments))
    return row


@pytest.fixture
def best(walker: Any, tmp_path: Path) -> str:
    codevault.save_policy(
        tmp_path / "best.mpt", walker.net.Walker(), probe=torch.ones(1, 4), metadata={"epoch": 3}
    )
    return str(tmp_path / "best.mpt")


def test_prefetch(best: str, walker: Any, tmp_path: Path) -> None:
    first = only("prefetch", best, "--json")
    assert (first["status"], first["error"]) == ("fetched", None)
    again = only("prefetch", best, "--json")
    assert (again["status"], again["splint"]) == ("hit", first["splint"])
    named = only("prefetch", f"{walker.top}@{walker.head}", "--json")
    assert named["status"] == "fetched"
    assert run("prefetch", f"{walker.top}@{walker.head}").output.startswith("hit")


def test_prefetch_goes_on_after_a_bad_one(best: str, tmp_path: Path, walker: Any) -> None:
    (tmp_path / "bad.mpt").write_bytes(b"nothing")
    result = run("prefetch", str(tmp_path / "bad.mpt"), best, "--json")
    rows, _ = parsed(result)
    assert [row["status"] for row in rows] == ["failed", "fetched"]
    assert rows[0]["error"]["reference"] == "not-a-checkpoint"
    assert result.exit_code == 1
    assert run("prefetch", f"{walker.top}@{'0' * 40}").exit_code == 3


def test_prefetch_heals_a_damaged_entry(best: str, walker: Any) -> None:
    run("prefetch", best)
    for pack in Path(os.environ["CODEVAULT_CACHE"]).rglob("*.cvs"):
        pack.chmod(0o600)
        pack.write_bytes(b"damaged")
    row = only("prefetch", best, "--json")
    assert (row["status"], row["error"]) == ("fetched", None)
    for pack in Path(os.environ["CODEVAULT_CACHE"]).rglob("*.cvs"):
        pack.chmod(0o600)
        pack.write_bytes(b"damaged")
    named = only("prefetch", f"{walker.top}@{walker.head}", "--json")
    assert named["error"] is None
    codevault.load_policy(best)


def test_commits_of_a_repository_come_in_one_conversation(fleet: Fleet) -> None:
    report = codevault.prefetch(fleet.named(0), trust=[f"{fleet.repo}@{fleet.commits[0]}"])
    assert report.ok, report.failures
    alone = len(fleet.site.requests)
    assert report.requests == alone > 0
    assert 0 < report.bytes <= fleet.site.sent
    fleet.site.requests.clear()
    trust = [f"{fleet.repo}@{commit}" for commit in fleet.commits]
    report = codevault.prefetch([fleet.folder / "**/*.mpt"], trust=trust)
    assert (len(report.items), report.snapshots, report.ok) == (8, 4, True)
    assert [item.status for item in report.items] == ["hit"] * 2 + ["fetched"] * 6
    assert len(fleet.site.requests) <= alone, fleet.site.requests
    fleet.site.requests.clear()
    report = codevault.prefetch([fleet.folder / "run-*"], trust=trust)
    assert {item.status for item in report.items} == {"hit"}
    assert (fleet.site.requests, report.requests, report.bytes) == ([], 0, 0)


def test_a_grant_for_the_repository_is_proven_once_for_all(fleet: Fleet, tmp_path: Path) -> None:
    assert codevault.prefetch(fleet.named(0), trust=[fleet.repo], cache=tmp_path / "other").ok
    alone = len(fleet.site.requests)
    fleet.site.requests.clear()
    report = codevault.prefetch([fleet.folder / "**/*.mpt"], trust=[fleet.repo])
    assert report.ok, report.failures
    assert len(fleet.site.requests) <= alone, fleet.site.requests
    fleet.site.requests.clear()
    assert codevault.prefetch([fleet.folder / "run-1"], trust=[fleet.repo]).ok
    assert fleet.site.requests == []


def test_a_missing_commit_costs_no_other(fleet: Fleet, tmp_path: Path) -> None:
    absent = [f"{fleet.repo}@{digit * 40}" for digit in "0ab"]
    named = [f"{fleet.repo}@{commit}" for commit in fleet.commits]
    assert codevault.prefetch(named, cache=tmp_path / "without").ok
    without = len(fleet.site.requests)
    fleet.site.requests.clear()
    report = codevault.prefetch([named[0], *absent, *named[1:]])
    assert [item.status for item in report.items] == ["fetched", *["failed"] * 3, *["fetched"] * 3]
    for item, name in zip(report.failures, absent, strict=True):
        assert item.error is not None
        assert item.error.exit_code == 3
        assert name[-40:] in item.error.what
    # Each of the two is named by the server, left out of the next question, and asked for once
    # alone; a question takes three requests.
    assert len(fleet.site.requests) <= without + 12, fleet.site.requests


def test_a_disk_that_takes_nothing_is_told_after_one_conversation(
    fleet: Fleet, tmp_path: Path
) -> None:
    named = [f"{fleet.repo}@{commit}" for commit in fleet.commits]
    assert codevault.prefetch(named[:1], cache=tmp_path / "roomy").ok
    alone = len(fleet.site.requests)
    fleet.site.requests.clear()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, before[1]))  # as a full disk for all larger
    try:
        result = run("prefetch", *named, "--json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    rows, _ = parsed(result)
    assert result.exit_code == 3
    assert {row["error"]["reference"] for row in rows} == {"cache-unwritable"}
    assert 0 < len(fleet.site.requests) < alone


def test_a_manifest_that_says_what_none_may_costs_no_other(fleet: Fleet) -> None:
    trust = [f"{fleet.repo}@{commit}" for commit in fleet.commits]
    good, bad, other = (look(name, trust, "") for name in fleet.named(0, 1, 2))
    code = open_checkpoint(bad.uri)
    climbing = code.manifest.model_copy(update={"roots": ("../x",)})
    bad = replace(bad, code=replace(code, manifest=climbing))
    cache = Cache.open(None)
    assert fetch_together([good, bad, other], cache) is None
    assert [find_ready(each, cache) is not None for each in (good, bad, other)] == [
        True,
        False,
        True,
    ]
    with pytest.raises(CacheError):
        make_ready(bad, cache)


def test_a_silent_repository_is_asked_once_for_all(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codevault_cache import wire

    asked = []

    class Counted(wire.Wire):
        def __init__(self, *args: Any) -> None:
            asked.append(1)
            super().__init__(*args)

    monkeypatch.setattr(wire, "RETRY_SECONDS", ())
    monkeypatch.setattr(wire, "Wire", Counted)
    gone = "http://127.0.0.1:9/r.git"
    report = codevault.prefetch([f"{gone}@{commit}" for commit in fleet.commits])
    assert [item.status for item in report.items] == ["failed"] * 4
    assert len(asked) == 1


def test_names_are_patterns_folders_lists_and_standard_input(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEVAULT_TRUST", fleet.repo)
    first, second, third = fleet.named(0, 1, 2)
    (tmp_path / "list.txt").write_text(f"# of today\n{first}\n\n{second}\n")
    rows, summary = parsed(run("prefetch", "--from-file", str(tmp_path / "list.txt"), "--json"))
    assert sorted(row["uri"] for row in rows) == [first, second]
    rows, summary = parsed(run("prefetch", "-", first, "--json", stdin=f"{third}\n{first}\n"))
    assert sorted(row["uri"] for row in rows) == [first, third]
    assert summary["items"] == 2
    rows, _ = parsed(run("prefetch", str(fleet.folder / "run-3"), "--json"))
    assert [os.path.basename(row["uri"]) for row in rows] == ["a.mpt", "b.mpt"]
    assert run("prefetch").exit_code == 2
    result = run("prefetch", str(tmp_path), first, "--json")
    rows, _ = parsed(result)
    assert result.exit_code == 1
    assert {row["status"] for row in rows} == {"failed", "hit"}
    strange = tmp_path / "[a].mpt"
    strange.write_bytes(Path(first).read_bytes())
    assert targets(strange) == [str(strange)]
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty" / "none*.mpt", tmp_path / "empty"):
        with pytest.raises(MissingCheckpointError, match="stands for no checkpoint") as caught:
            targets(nothing)
        assert caught.value.hint == f"codevault prefetch '{tmp_path}/empty/**/*.mpt'"


def test_json_lines_have_these_keys(fleet: Fleet, tmp_path: Path) -> None:
    commit = f"{fleet.repo}@{fleet.commits[0]}"
    rows, summary = parsed(run("prefetch", commit, str(tmp_path / "none.mpt"), "--json"))
    kinds = {"uri": str, "status": str, "splint": str, "seconds": float}
    for row in rows:
        assert list(row) == [*kinds, "error"]
        assert all(type(row[key]) is kind for key, kind in kinds.items())
        assert row["status"] in ("hit", "fetched", "failed")
    failed, fetched = sorted(rows, key=lambda row: row["splint"])
    assert fetched["error"] is None
    assert list(failed["error"]) == ["reference", "what", "why", "hint"]
    counts = ["items", "snapshots", "failures", "requests", "bytes", "mirrored"]
    assert list(summary) == [*counts, "seconds", "python"]
    assert [summary[key] for key in counts[:3]] == [2, 1, 1]
    assert summary["requests"] == len(fleet.site.requests)
    assert summary["python"] == sys.implementation.cache_tag


def test_text_ends_with_a_summary(fleet: Fleet) -> None:
    commit = f"{fleet.repo}@{fleet.commits[0]}"
    one, two = run("prefetch", commit).output.splitlines()
    assert one.startswith("fetched")
    assert commit in one
    assert f"1 of 1 ready, 1 snapshot; {len(fleet.site.requests)} requests, " in two


def test_pinned_as_a_group_until_the_group_is_let_go(fleet: Fleet) -> None:
    named = [f"{fleet.repo}@{commit}" for commit in fleet.commits[:2]]
    assert run("prefetch", *named, "--pin", "nightly").exit_code == 0
    assert run("prefetch", named[0], "--pin", "other").exit_code == 0
    vault = Cache.open(None)
    assert [entry.pinned for entry in vault.ls()] == [True, True]
    assert [item.kind for item in collect.everything(vault).items] == ["git"]
    assert "unpinned nightly: 2" in run("cache", "unpin", "nightly").output
    assert sorted(entry.pinned for entry in vault.ls()) == [False, True]
    assert run("prefetch", named[0], "--pin", "../x").exit_code == 1
    assert run("cache", "unpin", "nightly").exit_code == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_weights_come_too_when_asked(fleet: Fleet) -> None:
    pytest.importorskip("aiohttp")
    copies = Path(os.environ["CODEVAULT_CACHE"], "checkpoints")
    with servers.web(fleet.folder, ranges=True) as site:
        uri = f"{site.url}/run-0/a.mpt"
        assert codevault.prefetch([uri], trust=[fleet.repo]).ok
        assert not list(copies.glob("*.mpt"))
        told: list[str] = []
        report = codevault.prefetch(
            [uri], trust=[fleet.repo], weights=True, step=lambda item: told.append(item.uri)
        )
        assert (report.ok, told) == (True, [uri])
        assert report.bytes == os.path.getsize(fleet.named(0)[0])  # the manifest is known
        (copy,) = copies.glob("*.mpt")
        assert copy.read_bytes() == Path(fleet.named(0)[0]).read_bytes()


def test_ctrl_c_leaves_a_cache_that_goes_on(fleet: Fleet, tmp_path: Path) -> None:
    """The second repository never answers; the first is had by then."""
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        stuck = f"http://127.0.0.1:{silent.getsockname()[1]}/r.git@{'1' * 40}"
        commit = f"{fleet.repo}@{fleet.commits[0]}"
        process = subprocess.Popen(
            [sys.executable, "-m", "codevault", "prefetch", commit, stuck, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell starts what runs in the background with Ctrl-C switched off.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["status"] == "fetched"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "interrupted: 1 ready" in said
    assert Cache.open(None).verify().bad == ()
    assert codevault.prefetch([commit]).items[0].status == "hit"


def test_bars_on_a_terminal_take_no_line_from_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    names = [str(tmp_path / f"{'x' * 90}-{number}.mpt") for number in range(3)]
    with (
        terminals.shown() as bar,
        open(tmp_path / "pipe", "w", encoding="utf-8") as pipe,
        monkeypatch.context() as patch,
    ):
        patch.setattr(sys, "stderr", bar.writer)
        patch.setattr(sys, "stdout", pipe)
        with pytest.raises(SystemExit):
            main(["prefetch", *names, "--json"])
    assert "prefetching" in bar.text
    assert "3/3" in bar.text
    assert "missing-checkpoint" not in bar.text
    with terminals.shown() as both, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", both.writer)
        patch.setattr(sys, "stdout", both.writer)
        with pytest.raises(SystemExit):
            main(["prefetch", *names])
    *rows, last = [json.loads(line) for line in (tmp_path / "pipe").read_text().splitlines()]
    assert sorted(row["uri"] for row in rows) == names
    assert last["summary"]["failures"] == 3
    assert both.text.count("[missing-checkpoint]") == 3
    assert all(f"{name} cannot be opened" in both.text for name in names)
    assert "0 of 3 ready" in both.text


def test_names_that_are_no_text_and_secrets_in_addresses(tmp_path: Path) -> None:
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mpt")
    secret = "http://user:topsecret@127.0.0.1:9/a.mpt?signature=alsosecret"
    for more in ([], ["--json"]):
        result = run("prefetch", strange, secret, str(tmp_path / "none.mpt"), *more)
        assert result.exit_code == 3
        assert "none.mpt" in result.stdout
        assert "http://127.0.0.1:9/a.mpt" in result.stdout
        assert "secret" not in result.output
    rows, _ = parsed(result)
    assert [row["status"] for row in rows] == ["failed"] * 3
    uris = json.dumps([row["uri"] for row in rows], ensure_ascii=False).encode()  # they are text
    assert rb"\udcff.mpt" in uris


@pytest.mark.parametrize(
    "name",
    ["https://h.example/o/r@main", "git@h.example:o/r.git@1234567", "ssh://git@h.example/o/r@HEAD"],
)
def test_a_branch_is_no_commit(name: str) -> None:
    (item,) = codevault.prefetch([name]).items
    assert item.error is not None
    assert "names no full commit" in item.error.what
    assert item.error.hint == "git ls-remote " + name.rpartition("@")[0]


def test_a_folder_may_be_named_as_the_shell_names_it(
    walker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for `diff` and `diagnose`; and a branch of it is told with the line that works."""
    commit = walker.commit()
    monkeypatch.chdir(walker.top.parent)
    result = run("prefetch", f"{walker.top.name}@{commit}")
    assert result.exit_code == 0, result.output
    assert "1 of 1 ready, 1 snapshot; " in result.output
    result = run("prefetch", f"{walker.top.name}@main")
    assert result.exit_code == 2
    assert f"{walker.top.name}@main names no full commit" in result.output
    line = result.output.partition("do:  ")[2].splitlines()[0]
    done = subprocess.run(["sh", "-c", f"echo {line}"], capture_output=True, text=True)
    assert done.stdout.strip() == f"codevault prefetch {walker.top.name}@{commit}"


def test_says_when_its_python_is_not_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path))
    assert other_python() is None
    (tmp_path / "pyvenv.cfg").write_text("home = /x\nversion = 3.9.1\n")
    assert f"{tmp_path} has 3.9" in (other_python() or "")
    here = ".".join(map(str, sys.version_info[:3]))
    (tmp_path / "pyvenv.cfg").write_text(f"version = {here}\n")
    assert other_python() is None
    # conda writes no pyvenv.cfg; its interpreter's name tells.
    monkeypatch.delenv("VIRTUAL_ENV")
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path / "conda"))
    assert other_python() is None
    (tmp_path / "conda/bin").mkdir(parents=True)
    (tmp_path / "conda/bin/python3.9").touch()
    (tmp_path / "conda/bin/python").symlink_to("python3.9")
    assert "has 3.9" in (other_python() or "")
    result = run("prefetch", str(tmp_path / "none.mpt"), "--json")
    assert "has 3.9" in result.stderr
    parsed(result)
