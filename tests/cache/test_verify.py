"""Verification tells of every damage and changes nothing; repair brings back what it can."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from codevault_cache import Cache, Snapshot, Wanted, overlay_of, paths, removal, warm
from codevault_cache.holdings import holdings
from codevault_cache.repair import repair

if TYPE_CHECKING:
    from pathlib import Path


def flip(path: str, at: int) -> None:
    mode = stat.S_IMODE(os.stat(path).st_mode)
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 4]))
    os.chmod(path, mode)


@pytest.fixture
def held(sample: Any, cache: Cache) -> Snapshot:
    (snapshot,) = warm(cache, [Wanted(str(sample.top), sample.git("rev-parse", "HEAD"))])
    cache.derived(snapshot.digest, "cp", lambda: b"code")
    return snapshot


def test_ls_and_verify(held: Snapshot, cache: Cache) -> None:
    (entry,) = cache.ls()
    assert (entry.snapshot, entry.files, entry.pinned) == (held, 7, False)
    report = cache.verify()
    counts = (report.packs, report.records, report.files, report.code)
    assert (report.ok, counts) == (True, (1, 2, 7, 1))


@pytest.mark.parametrize(
    "what", ["pack", "tree", "mode", "extra", "missing", "link", "code", "snapshots", "requests"]
)
def test_every_damage_is_told_and_repaired(what: str, held: Snapshot, cache: Cache) -> None:
    root = cache.roots[0]
    tree = paths.tree(root, held.digest)
    victim = os.path.join(tree, "README.md")
    (one,) = holdings(root)
    bad = tree
    if what == "pack":
        bad = paths.pack(root, held.digest)
        flip(bad, os.path.getsize(bad) - 1)
    elif what == "tree":
        flip(victim, 0)
    elif what == "mode":
        os.chmod(victim, 0o644)
    elif what == "code":
        (bad,) = one.code
        flip(bad, 33)
    elif what in ("snapshots", "requests"):
        (bad,) = (path for path in one.records if what in path)
        flip(bad, 20)
    else:
        os.chmod(tree, 0o700)
        if what == "missing":
            os.unlink(victim)
        elif what == "extra":
            with open(os.path.join(tree, "extra.py"), "w"):
                pass
        else:
            os.symlink("src", os.path.join(tree, "other"))
    report = cache.verify()
    assert bad in [found.path for found in report.bad]
    assert os.path.exists(bad)
    assert cache.verify() == report
    done = repair(cache, report)
    assert set(done.set_aside) == {found.path for found in report.bad}
    assert done.waiting == ()
    if what not in ("snapshots", "requests"):
        assert done.healed == (held.name,)
    assert cache.verify().ok
    assert cache.snapshot(held.name) == held or what == "snapshots"
    files = cache.tree(held.digest)
    assert files.read("README.md") == b"read me\n"
    with open(files.location("README.md"), "rb") as file:
        assert file.read() == b"read me\n"
    files.close()


def test_what_travels_in_a_checkpoint_waits_for_its_next_load(sample: Any, cache: Cache) -> None:
    head = sample.git("rev-parse", "HEAD")
    wanted = Wanted(str(sample.top), head, overlay=overlay_of({"more.py": "x = 1\n"}))
    (snapshot,) = warm(cache, [wanted])
    flip(paths.pack(cache.roots[0], snapshot.digest), 60)
    done = repair(cache, cache.verify())
    ((name, why),) = done.waiting
    assert name == snapshot.name
    assert "checkpoint" in why
    assert cache.verify().ok
    assert warm(cache, [wanted]) == [snapshot]


def test_an_origin_that_is_gone_is_named(held: Snapshot, sample: Any, cache: Cache) -> None:
    os.rename(sample.top, f"{sample.top}-moved")
    flip(paths.pack(cache.roots[0], held.digest), 60)
    ((name, why),) = repair(cache, cache.verify()).waiting
    assert (name, "no folder" in why or "no git repository" in why) == (held.name, True), why


def test_I8_read_only_folders_are_reported_and_left(
    held: Snapshot, cache: Cache, tmp_path: Path
) -> None:
    both = Cache.open([str(tmp_path / "first"), cache.roots[0]])
    pack = paths.pack(cache.roots[0], held.digest)
    flip(pack, os.path.getsize(pack) - 1)
    before = os.stat(pack).st_ctime_ns
    report = both.verify()
    assert pack in [bad.path for bad in report.bad]
    assert repair(both, report).set_aside == ()
    assert os.stat(pack).st_ctime_ns == before


@pytest.mark.parametrize("removed", [True, False])
def test_what_cannot_be_read_is_told_and_what_is_collected_meanwhile_is_not(
    removed: bool, held: Snapshot, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = paths.tree(cache.roots[0], held.digest)

    def fail(*_: object) -> None:
        if removed:
            removal.remove_folder(tree)
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(hashlib, "file_digest", fail)
    bad = cache.verify().bad
    assert [found.path for found in bad] == ([] if removed else [tree])
    assert removed or "input/output error" in bad[0].why
