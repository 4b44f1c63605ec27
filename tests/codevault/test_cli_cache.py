"""`codevault cache`: what it prints for people and for programs, and what it does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from click.testing import CliRunner
from pydantic import BaseModel, ConfigDict, TypeAdapter

import codevault
from codevault.cli import main
from codevault_cache import Cache, paths
from tests.codevault import terminals


class Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class LsRow(Row):
    splint: str
    repo: str | None
    commit: str | None
    digest: str
    root: str
    files: int
    bytes: int
    used: str
    pinned: bool


class DirRow(Row):
    path: str
    bytes: int
    inodes: int


class GcRow(Row):
    kind: Literal["snapshot", "git", "checkpoint", "orphan", "damaged", "proof"]
    name: str
    used: str
    status: Literal["removed", "kept", "would remove"]


class GcTotal(Row):
    before: int
    after: int
    kept: int
    dry_run: bool
    items: int


class PinRow(Row):
    splint: str
    pinned: bool


class GroupRow(Row):
    group: str
    unpinned: int


class RmRow(Row):
    splint: str
    freed: int


class BadRow(Row):
    path: str
    why: str


class VerifyRow(Row):
    packs: int
    records: int
    files: int
    code: int
    bad: list[BadRow]
    set_aside: list[str] | None = None
    healed: list[str] | None = None
    waiting: list[tuple[str, str]] | None = None


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["cache", *arguments], catch_exceptions=False)


def rows(kind: Any, *arguments: str) -> list[Any]:
    """The JSON lines of a command, each of exactly the documented form."""
    result = run(*arguments, "--json")
    schema = TypeAdapter(kind)
    return [schema.validate_json(line) for line in result.stdout.splitlines()]


@pytest.fixture
def held(walker: Any, tmp_path: Path) -> str:
    """Two commits in the cache; gives the path of the older one's checkpoint."""
    codevault.save_policy(tmp_path / "best.mpt", walker.net.Walker(), probe=torch.ones(1, 4))
    newer = walker.commit({"src/walker/extra.py": "x = 1\n"})
    codevault.prefetch([tmp_path / "best.mpt", f"{walker.top}@{newer}"])
    return str(tmp_path / "best.mpt")


def age(commit: str, days: float) -> None:
    cache = Cache.open()
    then = time.time() - days * 86400
    for entry in cache.ls():
        if entry.snapshot.commit == commit:
            os.utime(paths.pack(cache.roots[0], entry.snapshot.digest), (then, then))


def test_dir(held: str) -> None:
    root = os.environ["CODEVAULT_CACHE"]
    assert run("dir").output == root + "\n"
    (row,) = rows(DirRow, "dir")
    assert row.path == root
    du = subprocess.run(["du", "-s", "-B1", root], capture_output=True, check=True)
    assert row.bytes == int(du.stdout.split()[0])


def test_an_empty_cache_is_made_by_nobody_who_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEVAULT_CACHE", str(tmp_path / "c"))
    assert run("ls").output.startswith("0 snapshots")
    assert rows(VerifyRow, "verify")[0].bad == []
    assert rows(GcRow | GcTotal, "gc")[-1].items == 0
    assert not (tmp_path / "c").exists()


def test_ls_sorts_and_filters(held: str, walker: Any) -> None:
    old = walker.head
    age(old, 3)
    found = rows(LsRow, "ls")
    assert [row.commit == old for row in found] == [True, False]
    assert datetime.fromisoformat(found[0].used) < datetime.now(UTC)
    by_size = rows(LsRow, "ls", "--sort", "size")
    assert by_size == sorted(by_size, key=lambda row: row.bytes)
    assert [row.commit for row in rows(LsRow, "ls", "--filter", old[:9])] == [old]
    assert rows(LsRow, "ls", "--filter", "nothing-like-it") == []
    text = run("ls").output
    assert text.splitlines()[-1].startswith("2 snapshots; ")
    assert run("ls", "--sort", "luck").exit_code == 2


def test_pin_gc_and_unpin(held: str, walker: Any) -> None:
    name = codevault.read_manifest(held).commit
    assert name == walker.head
    for entry in Cache.open().ls():
        age(str(entry.snapshot.commit), 200)
    assert run("pin", held).output.startswith("pinned _splint_")
    planned = rows(GcRow | GcTotal, "gc", "--dry-run")
    assert [row.status for row in planned[:-1]] == ["would remove"]
    assert (planned[-1].items, planned[-1].dry_run) == (1, True)
    assert len(rows(LsRow, "ls")) == 2
    done = rows(GcRow | GcTotal, "gc")
    assert [row.status for row in done[:-1]] == ["removed"]
    assert done[-1].after == planned[-1].after < done[-1].before
    (row,) = rows(LsRow, "ls")
    assert (row.commit, row.pinned) == (walker.head, True)
    refused = run("rm", held)
    assert refused.exit_code != 0
    assert "codevault cache unpin" in refused.stderr
    assert "unpinned" in run("unpin", row.splint).output
    assert run("unpin", row.splint).exit_code != 0
    (gone,) = rows(RmRow, "rm", row.splint)
    assert gone.freed > 0
    assert rows(LsRow, "ls") == []
    # and it comes back
    assert codevault.prefetch([held]).items[0].status == "fetched"


def test_pins_are_told_to_programs_too(held: str, walker: Any) -> None:
    (row,) = rows(PinRow, "pin", held)
    assert row.pinned
    codevault.prefetch([held], pin="nightly")
    (still,) = rows(PinRow, "unpin", row.splint)
    assert (still.splint, still.pinned) == (row.splint, True)  # the group's pin holds
    (group,) = rows(GroupRow, "unpin", "nightly")
    assert (group.group, group.unpinned) == ("nightly", 1)
    assert not any(entry.pinned for entry in rows(LsRow, "ls"))


def test_gc_limits_have_units(held: str, walker: Any) -> None:
    assert "in the last hour stays" in run("gc", "--max-size", "0", "--dry-run").output
    for entry in Cache.open().ls():
        age(str(entry.snapshot.commit), 2)
    assert rows(GcRow | GcTotal, "gc", "--max-age", "3d")[-1].items == 0
    assert rows(GcRow | GcTotal, "gc", "--max-size", "1GB", "--dry-run")[-1].items == 0
    assert rows(GcRow | GcTotal, "gc", "--max-age", "1.5d", "--dry-run")[-1].items == 2
    assert rows(GcRow | GcTotal, "gc", "--max-size", "0")[-1].items == 2
    for bad in ("2 parsecs", "-1GB", "much"):
        result = run("gc", "--max-size", bad)
        assert result.exit_code == 2, bad
        assert "GB".lower() in result.stderr.lower()


def test_a_snapshot_that_runs_here_stays(held: str, walker: Any) -> None:
    splint = codevault.load_code(walker.top, walker.head)
    for entry in Cache.open().ls():
        age(str(entry.snapshot.commit), 200)
    rows(GcRow | GcTotal, "gc")
    # Another name of the same files stays with it.
    assert {row.digest for row in rows(LsRow, "ls")} == {splint.snapshot.digest}
    assert rows(GcRow | GcTotal, "rm", "--all")[-1].kept == 0
    (other,) = {row.splint for row in rows(LsRow, "ls")} - {splint.name}
    assert run("rm", other).exit_code == 0
    result = run("rm", splint.name)
    assert "running process" in result.stderr
    assert splint.import_module("walker.net").Walker
    splint.unload()


def test_rm_names_what_it_does_not_know(held: str) -> None:
    result = run("rm", "0123456789ab")
    assert result.exit_code == 1
    assert "names no snapshots" in result.stderr
    assert run("rm", "_splint_").exit_code == 1  # two of them
    assert run("rm").exit_code == 2
    assert run("rm", "--all").exit_code == 0
    assert rows(LsRow, "ls") == []


def test_verify_and_repair(held: str, walker: Any) -> None:
    (row,) = rows(VerifyRow, "verify")
    assert (row.packs, row.code, row.bad) == (2, 2, [])
    (fetched,) = (entry for entry in Cache.open().ls() if entry.snapshot.repo is not None)
    victim = Path(paths.pack(fetched.root, fetched.snapshot.digest))
    victim.chmod(0o600)
    victim.write_bytes(b"damaged")
    result = run("verify")
    assert result.exit_code == 1
    assert "--repair" in result.output
    (row,) = rows(VerifyRow, "verify", "--repair")
    assert str(victim) in row.set_aside
    assert row.healed == [fetched.snapshot.name]
    assert row.waiting == []
    assert run("verify").exit_code == 0
    codevault.load_policy(held)


def test_progress_is_shown_on_a_terminal_only(held: str) -> None:
    code = "import sys; from codevault.cli import main; main(['cache', 'verify', '--json'])"
    with terminals.shown() as terminal:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=terminal.writer, check=True
        )
    assert "hashing" in terminal.text
    assert TypeAdapter(VerifyRow).validate_json(done.stdout).bad == []
