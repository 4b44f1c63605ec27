"""Collection removes what is unused, in safe steps, and never what is pinned or in use."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from codevault_cache import Cache, Snapshot, Wanted, collect, errors, paths, pins, removal, warm
from codevault_cache.holdings import holdings
from codevault_cache.usage import Usage, allocated
from tests.forks import fork

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = removal.DAY


def put(cache: Cache, number: int, repo: str | None = None) -> Snapshot:
    """A snapshot of its own, with files, records and a code pack."""
    files = {"a.py": (0o100644, b"x = %d\n" % number), "d/data.txt": (0o100644, b"d" * 5000)}
    commit = f"{number:02x}" * 20
    wanted = Wanted(None, commit, roots=(".",), shared=())
    snapshot = Snapshot(commit, (".",), (), (), None, cache.publish(files), repo)
    cache.record(snapshot, wanted)
    cache.derived(snapshot.digest, "cp", lambda: b"code" * 1000)
    return snapshot


def age(cache: Cache, snapshot: Snapshot, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(paths.pack(cache.roots[0], snapshot.digest), (then, then))


def names(cache: Cache) -> list[str]:
    return [entry.snapshot.name for entry in cache.ls()]


def du(*places: str) -> int:
    done = subprocess.run(["du", "-s", "-c", "-B1", *places], capture_output=True, check=True)
    return int(done.stdout.splitlines()[-1].split()[0])


def test_the_unused_goes_and_the_used_stays(cache: Cache) -> None:
    old, new = put(cache, 1), put(cache, 2)
    age(cache, old, 100 * DAY)
    age(cache, new, 80 * DAY)
    planned = collect.plan(cache, None, 90 * DAY)
    assert [item.name for item in planned.items] == [old.name]
    assert names(cache) == sorted([old.name, new.name])
    done = collect.collect(planned)
    assert ([item.name for item in done.removed], done.kept) == ([old.name], ())
    assert names(cache) == [new.name]
    assert [held.digest for held in holdings(cache.roots[0])] == [new.digest]
    assert os.listdir(paths.tmp(cache.roots[0])) == []
    assert cache.verify().ok
    assert cache.find(Wanted(None, old.commit, roots=(".",), shared=())) is None


def test_least_recently_used_goes_first_until_the_size_fits(cache: Cache) -> None:
    snapshots = [put(cache, n) for n in range(4)]
    for days, snapshot in zip((3, 9, 1, 5), snapshots, strict=True):
        age(cache, snapshot, days * DAY)
    root = cache.roots[0]
    one = cache.ls()[0].size
    planned = collect.plan(cache, allocated([root]) - one - 1, None)
    assert [item.name for item in planned.items] == [snapshots[1].name, snapshots[3].name]
    collect.collect(planned)
    assert allocated([root]) == planned.after == du(root)


def test_I15_sizes_are_those_of_du(cache: Cache) -> None:
    first = put(cache, 1)
    put(cache, 2)
    root = cache.roots[0]
    (entry,) = [entry for entry in cache.ls() if entry.snapshot == first]
    (held,) = [held for held in holdings(root) if held.digest == first.digest]
    assert entry.size == du(*held.records, *held.objects)
    assert len(held.records) == 2
    os.link(paths.pack(root, first.digest), os.path.join(root, "v1", "again"))
    assert allocated([root]) == Usage(root).bytes == du(root)
    count = subprocess.run(["du", "-s", "--inodes", root], capture_output=True, check=True)
    assert Usage(root).count == int(count.stdout.split()[0])


def test_removing_one_name_of_a_shared_file_frees_nothing(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * 9000)
    os.link(tmp_path / "one", tmp_path / "two")
    usage = Usage(str(tmp_path))
    assert usage.remove([str(tmp_path / "one")]) == 0
    assert usage.remove([str(tmp_path / "two")]) == du(str(tmp_path / "one"))


def test_I12_pins_hold_against_everything(cache: Cache) -> None:
    kept, other = put(cache, 1), put(cache, 2)
    pins.pin(cache, kept.name)
    for snapshot in (kept, other):
        age(cache, snapshot, 1000 * DAY)
    assert [entry.pinned for entry in cache.ls()] == [True, False]
    collect.collect(collect.plan(cache, 0, 0))
    collect.collect(collect.everything(cache))
    assert names(cache) == [kept.name]
    with pytest.raises(errors.Held):
        pins.rm(cache, kept.name)
    pins.unpin(cache, kept.name)
    assert pins.rm(cache, kept.name) > 0
    assert names(cache) == []
    for act in (pins.pin, pins.unpin, pins.rm):
        with pytest.raises(errors.Missing):
            act(cache, kept.name)
        with pytest.raises(errors.Missing):
            act(cache, "../../x")


def test_I12_a_pin_that_comes_after_the_plan_holds(cache: Cache) -> None:
    snapshot = put(cache, 1)
    age(cache, snapshot, 1000 * DAY)
    planned = collect.plan(cache)
    pins.pin(cache, snapshot.name)
    assert [item.name for item in collect.collect(planned).kept] == [snapshot.name]
    assert names(cache) == [snapshot.name]


def test_I12_what_is_used_after_the_plan_stays(cache: Cache) -> None:
    snapshot = put(cache, 1)
    age(cache, snapshot, 1000 * DAY)
    planned = collect.plan(cache)
    cache.tree(snapshot.digest).close()  # a load
    assert len(collect.collect(planned).kept) == 1
    assert collect.plan(cache).items == ()


def test_I12_what_a_process_has_open_stays(cache: Cache) -> None:
    snapshot = put(cache, 1)
    tree = cache.tree(snapshot.digest)
    age(cache, snapshot, 1000 * DAY)
    assert collect.plan(cache).items == ()
    assert collect.everything(cache).items == ()
    with pytest.raises(errors.Held):
        pins.rm(cache, snapshot.name)
    tree.close()
    age(cache, snapshot, 1000 * DAY)
    assert len(collect.plan(cache).items) == 1


def test_I12_a_worker_that_was_forked_from_a_reader_counts(cache: Cache) -> None:
    snapshot = put(cache, 1)
    tree = cache.tree(snapshot.digest)
    stop, go = os.pipe()
    child = fork()
    if child == 0:  # pragma: no cover - the worker
        os.close(go)
        os.read(stop, 1)
        os._exit(0)
    os.close(stop)
    tree.close()
    age(cache, snapshot, 1000 * DAY)
    assert collect.plan(cache).items == ()
    os.close(go)
    os.waitpid(child, 0)
    assert len(collect.plan(cache).items) == 1


def test_I6_readers_keep_their_bytes_where_locks_do_nothing(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    snapshot = put(cache, 1)
    tree = cache.tree(snapshot.digest)
    age(cache, snapshot, 1000 * DAY)
    assert len(collect.collect(collect.plan(cache)).removed) == 1
    assert tree.read("a.py") == b"x = 1\n"
    tree.close()
    assert put(cache, 1) == snapshot
    assert cache.verify().ok


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EBADF, 524])
def test_I6_locks_that_fail_do_not_fail_a_read(
    code: int, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    snapshot = put(cache, 1)
    tree = cache.tree(snapshot.digest)
    assert tree.read("a.py") == b"x = 1\n"
    tree.close()
    age(cache, snapshot, 1000 * DAY)
    assert len(collect.collect(collect.plan(cache)).removed) == 1


def test_I4_records_go_before_what_they_name(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = put(cache, 1)
    age(cache, snapshot, 1000 * DAY)
    gone: list[str] = []
    real = removal.discard

    def discard(path: str, tmp: str) -> bool:
        gone.append(os.path.relpath(path, cache.roots[0]).split(os.sep)[1])
        return real(path, tmp)

    monkeypatch.setattr(collect, "discard", discard)
    collect.collect(collect.plan(cache))
    assert gone == ["snapshots", "requests", "trees", "code", "src"]


def test_I4_a_record_that_cannot_go_keeps_what_it_names(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = put(cache, 1)
    age(cache, snapshot, 1000 * DAY)

    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "no", path)

    planned = collect.plan(cache)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        assert len(collect.collect(planned).kept) == 1
    assert cache.verify().ok
    assert names(cache) == [snapshot.name]


def test_I12_links_are_not_followed(cache: Cache, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "precious").write_text("p")
    root = Path(cache.roots[0])
    snapshot = put(cache, 1)
    tree = Path(paths.tree(str(root), snapshot.digest))
    tree.chmod(0o700)
    (tree / "link").symlink_to(outside)
    digest = "e" * 64
    for place in (
        root / "v1" / "trees" / digest,
        root / "v1" / "src" / "ee",
        root / "v1" / "git" / "0123456789abcdef.git",
        root / "v1" / "quarantine",
        root / "checkpoints",
        root / "v1" / "tmp" / "1-x-y",
    ):
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(outside)
        os.utime(place, (0, 0), follow_symlinks=False)
    age(cache, snapshot, 1000 * DAY)
    collect.collect(collect.plan(cache, 0, 0))
    collect.collect(collect.everything(cache))
    assert (outside / "deep" / "precious").read_text() == "p"
    assert not tree.exists()
    assert not (root / "v1" / "trees" / digest).is_symlink()


def test_I12_objects_without_a_record_and_leftovers_go(cache: Cache) -> None:
    digest = cache.publish({"a.py": (0o100644, b"1")})
    root = cache.roots[0]
    download = os.path.join(paths.downloads(root), "x.mpt")
    os.makedirs(os.path.dirname(download))
    with open(download, "wb") as file:
        file.write(b"x")
    cache.derived("f" * 64, "cp", lambda: b"x")
    removal.set_aside(paths.code(root, "cp", "f" * 64), paths.quarantine(root))
    then = time.time() - 2 * DAY
    aside = os.path.join(paths.quarantine(root), os.listdir(paths.quarantine(root))[0])
    for place in (paths.pack(root, digest), download, aside):
        os.utime(place, (then, then))
    kinds = [item.kind for item in collect.plan(cache).items]
    assert sorted(kinds) == ["damaged", "orphan"]
    kinds = [item.kind for item in collect.collect(collect.plan(cache, 0, None)).removed]
    assert sorted(kinds) == ["checkpoint", "damaged", "orphan"]
    assert holdings(root) == []


def test_what_is_set_aside_can_be_looked_at_for_a_day(cache: Cache) -> None:
    snapshot = put(cache, 1)
    pack = paths.pack(cache.roots[0], snapshot.digest)
    os.chmod(pack, 0o600)
    with open(pack, "r+b") as file:
        file.write(b"damaged")
    age(cache, snapshot, 50 * DAY)
    with pytest.raises(errors.CorruptEntry):
        cache.tree(snapshot.digest)
    quarantine = paths.quarantine(cache.roots[0])
    assert len(os.listdir(quarantine)) == 1
    collect.collect(collect.plan(cache))
    assert len(os.listdir(quarantine)) == 1
    place = os.path.join(quarantine, os.listdir(quarantine)[0])
    os.utime(place, (time.time() - 2 * DAY,) * 2)
    collect.collect(collect.plan(cache))
    assert os.listdir(quarantine) == []


def test_a_record_whose_pack_is_in_a_read_only_folder_is_no_orphan(
    cache: Cache, tmp_path: Path
) -> None:
    snapshot = put(cache, 1)
    both = Cache.open([str(tmp_path / "first"), cache.roots[0]])
    both.record(snapshot)
    then = time.time() - 2 * DAY
    os.utime(paths.snapshot(both.roots[0], snapshot.name), (then, then))
    assert collect.plan(both).items == ()


def test_git_stores_go_with_the_last_snapshot_of_their_repository(
    sample: Any, tmp_path: Path, http_server: Any, cache: Cache
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    sample.bare(served / "one.git")
    sample.bare(served / "two.git")
    url, head = http_server(served).url, sample.git("rev-parse", "HEAD")
    (one,) = warm(cache, [Wanted(f"{url}/one.git", head, roots=("src",))])
    (two,) = warm(cache, [Wanted(f"{url}/two.git", head, roots=("configs",))])
    root = cache.roots[0]
    assert len(os.listdir(paths.depots(root))) == 2
    for snapshot in (one, two):
        age(cache, snapshot, 5 * DAY)
    assert one.repo is not None
    assert two.repo is not None
    for store in os.listdir(paths.depots(root)):
        for place in (store, f"{store}/objects"):
            os.utime(os.path.join(paths.depots(root), place), (0, 0))
    age(cache, two, 100 * DAY)
    collect.collect(collect.plan(cache))
    assert names(cache) == [one.name]
    assert os.listdir(paths.depots(root)) == [paths.depot_key(one.repo) + ".git"]
    # A store that is being fetched into is not touched.
    age(cache, one, 100 * DAY)
    os.utime(os.path.join(paths.depots(root), paths.depot_key(one.repo) + ".git", "objects"))
    collect.collect(collect.plan(cache))
    assert names(cache) == []
    assert len(os.listdir(paths.depots(root))) == 1
    assert warm(cache, [Wanted(f"{url}/one.git", head, roots=("src",))]) == [one]


def test_I12_a_git_store_that_is_used_after_the_plan_stays(cache: Cache) -> None:
    objects = paths.objects(cache.roots[0], "0123456789abcdef")
    os.makedirs(objects)
    for place in (objects, os.path.dirname(objects)):
        os.utime(place, (0, 0))
    planned = collect.plan(cache)
    assert [item.kind for item in planned.items] == ["git"]
    os.utime(objects)  # a fetch begins
    assert collect.collect(planned).removed == ()
    assert os.path.isdir(objects)


def test_names_with_one_digest_share_their_files(cache: Cache) -> None:
    first = put(cache, 1)
    second = Snapshot("b" * 40, (".",), (), (), None, first.digest)
    cache.record(second)
    assert pins.rm(cache, first.name) >= 0
    assert names(cache) == [second.name]
    assert cache.verify().ok
    cache.tree(first.digest).close()
    age(cache, second, 100 * DAY)
    pins.pin(cache, second.name)
    assert collect.plan(cache).items == ()


def test_clock_jumps_lose_nothing_that_was_just_used(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = put(cache, 1)
    age(cache, snapshot, -400 * DAY)  # written while the clock was ahead
    assert collect.plan(cache).items == ()
    cache.tree(snapshot.digest).close()  # a load sets it right
    assert abs(os.stat(paths.pack(cache.roots[0], snapshot.digest)).st_mtime - time.time()) < 60
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 1000.0)  # a machine that starts in 1970
        assert collect.plan(cache).items == ()
        collect.collect_daily(cache)
    assert names(cache) == [snapshot.name]


def test_a_load_notes_the_use_once_a_minute(cache: Cache) -> None:
    snapshot = put(cache, 1)
    age(cache, snapshot, 30)
    pack = paths.pack(cache.roots[0], snapshot.digest)
    before = os.stat(pack).st_mtime
    cache.tree(snapshot.digest).close()
    assert os.stat(pack).st_mtime == before
    age(cache, snapshot, 90)
    cache.tree(snapshot.digest).close()
    assert os.stat(pack).st_mtime > before + 20


def old_and_mark(cache: Cache) -> tuple[Snapshot, str]:
    snapshot = put(cache, 1)
    age(cache, snapshot, 100 * DAY)
    mark = Path(paths.collected(cache.roots[0]))
    mark.touch()
    yesterday = time.time() - 25 * 3600
    os.utime(mark, (yesterday, yesterday))
    return snapshot, str(mark)


def test_automatic_collection_is_daily_and_after_a_fetch(sample: Any, cache: Cache) -> None:
    old, mark = old_and_mark(cache)
    head = sample.git("rev-parse", "HEAD")
    warm(cache, [Wanted(str(sample.top), head, roots=("src",))])
    assert old.name not in names(cache)
    old = put(cache, 2)
    age(cache, old, 100 * DAY)
    warm(cache, [Wanted(str(sample.top), head, roots=("configs",))])
    assert old.name in names(cache)
    then = time.time() - 25 * 3600
    os.utime(mark, (then, then))
    warm(cache, [Wanted(str(sample.top), head, roots=("configs",))])  # a hit: no collection
    assert old.name in names(cache)
    warm(cache, [Wanted(str(sample.top), head, roots=("src", "configs"))])
    assert old.name not in names(cache)


def test_automatic_collection_lets_a_new_cache_have_its_first_day(cache: Cache) -> None:
    old, mark = old_and_mark(cache)
    os.unlink(mark)
    collect.collect_daily(cache)
    assert os.path.exists(mark)
    assert names(cache) == [old.name]


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_automatic_collection_leaves_shared_folders_alone(cache: Cache, mode: int) -> None:
    old, mark = old_and_mark(cache)
    os.chmod(cache.roots[0], mode)
    collect.collect_daily(cache)
    assert names(cache) == [old.name]
    assert os.stat(mark).st_mtime < time.time() - DAY
    os.chmod(cache.roots[0], 0o755)
    collect.collect_daily(cache)
    assert names(cache) == []


def test_automatic_collection_leaves_other_peoples_folders_alone(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = old_and_mark(cache)
    uid = os.geteuid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: uid + 1)
        collect.collect_daily(cache)
    assert names(cache) == [old.name]


def test_automatic_collection_never_fails(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "no")

    collect.collect_daily(Cache.open("/nonexistent/folder"))
    old_and_mark(cache)
    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    collect.collect_daily(cache)


READER = """
import os, random, sys, time
from codevault_cache import Cache, Snapshot, Wanted, collect, errors
from codevault_cache import atomicwrite
from codevault_cache.removal import DAY
atomicwrite.durable = False
top, seed, seconds, arm = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
choose, cache = random.Random(seed), Cache.open(top)
FILES = [{"a.py": (0o100644, b"x = %d" % n), "d/b.txt": (0o100644, b"y" * n)} for n in range(4)]
counts = {"hits": 0, "healed": 0, "removed": 0}
end = time.monotonic() + seconds
collect.GRACE = 0.3
def load(n):
    commit = f"{n:02x}" * 20
    wanted = Wanted(None, commit, roots=(".",), shared=())
    for attempt in range(50):
        try:
            found = cache.find(wanted)
            if found is None:
                counts["healed"] += 1
                digest = cache.publish(FILES[n])
                found = Snapshot(commit, (".",), (), (), None, digest)
                cache.record(found, wanted)
            tree = cache.tree(found.digest)
        except errors.Missing:
            continue
        for path, (_, content) in FILES[n].items():
            assert tree.read(path) == content
        code = cache.derived(found.digest, "cp", lambda: b"code%d" % n)
        assert code == b"code%d" % n
        if arm == "locks":
            with open(tree.location("d/b.txt"), "rb") as file:
                assert file.read() == FILES[n]["d/b.txt"][1]
        tree.close()
        counts["hits"] += 1
        return
    raise SystemExit("never found")
if arm == "none":
    import fcntl
    fcntl.flock = lambda *_: None
while time.monotonic() < end:
    if seed == 0:
        counts["removed"] += len(collect.collect(collect.plan(cache, 0, -1.0)).removed)
    else:
        load(choose.randrange(4))
print(counts["hits"], counts["healed"], counts["removed"])
"""


@pytest.mark.parametrize("arm", ["locks", "none"])
def test_readers_survive_a_collection_that_never_stops(
    arm: str, tmp_path: Path, cache: Cache
) -> None:
    where = os.path.dirname(os.path.dirname(os.path.abspath(removal.__file__)))
    running = [
        subprocess.Popen(
            [sys.executable, "-c", READER, cache.roots[0], str(seed), "3", arm],
            env={**os.environ, "PYTHONPATH": where},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(4)
    ]
    said = [process.communicate(timeout=120) for process in running]
    totals = [0, 0, 0]
    for process, (out, err) in zip(running, said, strict=True):
        assert process.returncode == 0, err
        totals = [a + int(b) for a, b in zip(totals, out.split(), strict=True)]
    assert min(totals) > 0, totals
    assert cache.verify().ok


STOPPED = """
import os, signal, sys
from codevault_cache import Cache, atomicwrite
real = os.link
def link(*args, **kwargs):
    if args[1].endswith(".cvs"):
        print("here", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
    return real(*args, **kwargs)
os.link = link
print(Cache.open(sys.argv[1]).publish({"a.py": (0o100644, b"1")}))
"""


def test_a_writer_that_is_stopped_while_collection_runs(cache: Cache) -> None:
    where = os.path.dirname(os.path.dirname(os.path.abspath(removal.__file__)))
    writer = subprocess.Popen(
        [sys.executable, "-c", STOPPED, cache.roots[0]],
        env={**os.environ, "PYTHONPATH": where},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "here\n"
    os.waitid(os.P_PID, writer.pid, os.WSTOPPED)
    tmp = paths.tmp(cache.roots[0])
    then = time.time() - 5 * removal.HOUR
    for name in os.listdir(tmp):
        os.utime(os.path.join(tmp, name), (then, then))
    collect.collect(collect.plan(cache, 0, 0))
    assert len(os.listdir(tmp)) == 1
    os.kill(writer.pid, signal.SIGCONT)
    digest = writer.communicate(timeout=60)[0].strip()
    assert writer.returncode == 0
    assert cache.has(digest)
    assert cache.verify().ok


def test_I8_a_plan_and_a_verification_change_nothing(
    cache: Cache, tmp_path: Path, python: Callable[..., str]
) -> None:
    put(cache, 1)

    def state() -> list[tuple[str, int]]:
        return sorted(
            (os.path.join(where, name), os.lstat(os.path.join(where, name)).st_ctime_ns)
            for where, folders, files in os.walk(cache.roots[0])
            for name in (*folders, *files)
        )

    before = state()
    collect.plan(cache, 0, 0)
    collect.everything(cache)
    cache.ls()
    assert cache.verify().ok
    assert state() == before
