"""What is in the cache is complete, verified at each read, and healed when it is damaged."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from codevault_cache import (
    Cache,
    Snapshot,
    Wanted,
    atomicwrite,
    errors,
    folders,
    paths,
    removal,
    warm,
)
from codevault_cache.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = {"a.py": (0o100644, b"x = 1\n"), "run.sh": (0o100755, b"#!\n"), "d/e.txt": (0o100644, b"")}


def flip(path: str, at: int) -> None:
    """Change one byte of a read-only file, as a bad disk does: in place."""
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 4]))
    os.chmod(path, 0o444)


def read_all(cache: Cache, digest: str) -> dict[str, bytes]:
    tree = cache.tree(digest)
    try:
        return {path: tree.read(path) for path in tree.paths}
    finally:
        tree.close()


def test_I16_files_are_laid_out_read_only(cache: Cache) -> None:
    digest = cache.publish(FILES)
    tree = cache.tree(digest)
    assert list(tree.paths) == ["a.py", "d/e.txt", "run.sh"]
    for path, (mode, content) in FILES.items():
        assert tree.read(path) == content
        assert tree.mode(path) == mode
        with open(tree.location(path), "rb") as file:
            assert file.read() == content
        expected = 0o555 if mode == 0o100755 else 0o444
        assert stat.S_IMODE(os.stat(tree.location(path)).st_mode) == expected
    assert stat.S_IMODE(os.stat(tree.location()).st_mode) == 0o555
    assert stat.S_IMODE(os.stat(tree.location("d")).st_mode) == 0o555
    assert stat.S_IMODE(os.stat(tree.path).st_mode) == 0o444
    with pytest.raises(errors.Missing):
        tree.read("nope.py")
    tree.close()
    assert os.listdir(paths.tmp(cache.roots[0])) == []
    assert os.path.exists(os.path.join(cache.roots[0], "CACHEDIR.TAG"))


def test_I1_I5_every_flipped_byte_of_a_pack_is_detected(tmp_path: Path, cache: Cache) -> None:
    digest = cache.publish(FILES)
    with open(paths.pack(cache.roots[0], digest), "rb") as file:
        good = file.read()
    bad = str(tmp_path / "bad.cvs")
    for i in range(len(good)):
        with open(bad, "wb") as file:
            file.write(good[:i] + bytes([good[i] ^ 1]) + good[i + 1 :])
        with pytest.raises(errors.CorruptEntry):
            read_pack_file(bad, digest)
    for data in (b"", good[:5], good[:-1], good + b"\0", good[:40]):
        with open(bad, "wb") as file:
            file.write(data)
        with pytest.raises(errors.CorruptEntry):
            read_pack_file(bad, digest)


def read_pack_file(path: str, digest: str) -> None:
    tree = Tree(path, digest, "")
    try:
        for member in tree.paths:
            tree.read(member)
    finally:
        tree.close()


def test_a_link_in_the_place_of_a_pack_is_not_followed(cache: Cache, tmp_path: Path) -> None:
    digest = cache.publish(FILES)
    pack = paths.pack(cache.roots[0], digest)
    os.rename(pack, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", pack)
    with pytest.raises(errors.CorruptEntry):
        cache.tree(digest)


def test_a_damaged_pack_is_set_aside_and_healed(sample: Any, cache: Cache) -> None:
    wanted = Wanted(str(sample.top), sample.git("rev-parse", "HEAD"))
    (snapshot,) = warm(cache, [wanted])
    pack = paths.pack(cache.roots[0], snapshot.digest)
    good = read_all(cache, snapshot.digest)
    for at in (3, 30, os.path.getsize(pack) - 1):
        flip(pack, at)
        with pytest.raises(errors.CorruptEntry):
            read_all(cache, snapshot.digest)
        assert warm(cache, [wanted]) == [snapshot]
        assert read_all(cache, snapshot.digest) == good
    assert len(os.listdir(paths.quarantine(cache.roots[0]))) == 3


def test_a_damaged_record_is_set_aside_and_healed(sample: Any, cache: Cache) -> None:
    head = sample.git("rev-parse", "HEAD")
    for wanted in (
        Wanted(str(sample.top), head),
        Wanted(str(sample.top), head, roots=(".",), shared=(), include=()),
    ):
        (snapshot,) = warm(cache, [wanted])
        folder = os.path.join(cache.roots[0], "v1")
        for kind in ("requests", "snapshots"):
            for name in os.listdir(os.path.join(folder, kind)):
                flip(os.path.join(folder, kind, name), 20)
        assert cache.find(wanted) is None
        assert warm(cache, [wanted]) == [snapshot]
        assert cache.find(wanted) == snapshot
        assert cache.snapshot(snapshot.name) == snapshot


def test_I10_a_record_under_another_name_is_no_answer(sample: Any, cache: Cache) -> None:
    head = sample.git("rev-parse", "HEAD")
    one = Wanted(str(sample.top), head)
    (first,) = warm(cache, [one])
    folder = os.path.join(cache.roots[0], "v1", "requests")
    (record,) = os.listdir(folder)
    from codevault_cache.wanted import request_key, request_of

    other = Wanted(str(sample.top), "a" * 40)
    request = request_of(other)
    assert request is not None
    os.rename(os.path.join(folder, record), os.path.join(folder, request_key(request) + ".json"))
    assert cache.find(other) is None
    snapshots = os.path.join(cache.roots[0], "v1", "snapshots")
    fake = "_splint_" + "0" * 12 + first.name[-13:]
    os.rename(
        os.path.join(snapshots, first.name + ".json"), os.path.join(snapshots, fake + ".json")
    )
    assert cache.snapshot(fake) is None
    assert cache.snapshot("../" + first.name) is None


def test_removed_files_are_laid_out_again(cache: Cache) -> None:
    digest = cache.publish(FILES)
    folder = paths.tree(cache.roots[0], digest)
    removal.remove_folder(folder)
    assert not os.path.exists(folder)
    tree = cache.tree(digest)
    assert os.path.isfile(tree.location("d/e.txt"))
    tree.close()


def test_I7_a_pack_that_disappears_is_fetched_again(sample: Any, cache: Cache) -> None:
    wanted = Wanted(str(sample.top), sample.git("rev-parse", "HEAD"))
    (snapshot,) = warm(cache, [wanted])
    os.unlink(paths.pack(cache.roots[0], snapshot.digest))
    assert cache.find(wanted) is None
    with pytest.raises(errors.Missing):
        cache.tree(snapshot.digest)
    assert warm(cache, [wanted]) == [snapshot]
    assert read_all(cache, snapshot.digest)


def test_readers_survive_removal(cache: Cache) -> None:
    digest = cache.publish(FILES)
    tree = cache.tree(digest)
    os.unlink(tree.path)
    assert tree.read("a.py") == b"x = 1\n"
    tree.close()


def test_I11_code_packs_that_do_not_count_are_made_again(cache: Cache) -> None:
    digest = "d" * 64
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"payload" * 3

    def get() -> int:
        made.clear()
        assert cache.derived(digest, "cp311-x", make) == b"payload" * 3
        return len(made)

    assert get() == 1
    assert get() == 0
    path = paths.code(cache.roots[0], "cp311-x", digest)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o400
    assert stat.S_IMODE(os.stat(os.path.join(cache.roots[0], "v1", "code")).st_mode) == 0o700
    size = os.path.getsize(path)
    for at in range(size):
        flip(path, at)
        assert get() == 1
        assert get() == 0
    os.chmod(path, 0o466)
    assert get() == 1
    assert get() == 0
    other = paths.code(cache.roots[0], "cp311-x", "e" * 64)
    os.makedirs(os.path.dirname(other), exist_ok=True)
    os.link(path, other)
    assert cache.derived("e" * 64, "cp311-x", lambda: b"right") == b"right"
    for tag in ("", "../x", "A", "a/b", ".x"):
        with pytest.raises(ValueError, match="tag"):
            cache.derived(digest, tag, make)


def test_I11_code_of_another_user_does_not_count(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.derived("d" * 64, "cp", lambda: b"theirs")
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    assert cache.derived("d" * 64, "cp", lambda: b"mine") == b"mine"


@pytest.mark.parametrize("lacks", ["bytes", "inodes"])
def test_a_snapshot_that_does_not_fit_is_refused_before_anything_is_written(
    lacks: str, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs

    def full(path: str) -> os.statvfs_result:
        found = list(real(path))
        found[1] = 1  # f_frsize
        found[4] = 4999 if lacks == "bytes" else 10**9  # f_bavail
        found[5], found[7] = 10, 0 if lacks == "inodes" else 5  # f_files, f_favail
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", full)
    with pytest.raises(errors.Unwritable, match="cannot keep") as caught:
        cache.publish({"a.py": (0o100644, b"x" * 5000)})
    assert ("5,000 bytes" if lacks == "bytes" else "no inode") in caught.value.why
    assert "cache gc" in str(caught.value)
    assert not [
        name for _, _, names in os.walk(cache.roots[0]) for name in names if name.endswith(".cvs")
    ]
    monkeypatch.undo()
    assert cache.has(cache.publish({"a.py": (0o100644, b"x" * 5000)}))


def test_an_unwritable_cache_only_logs(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EROFS, "read-only file system")

    monkeypatch.setattr(atomicwrite, "publish_file", refuse)
    assert cache.derived("d" * 64, "cp", lambda: b"x") == b"x"


def given_away(path: str) -> None:
    """Make a file another user's, who is neither this one nor root."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 54321, 54321, follow_symlinks=False)


def test_I10_a_record_that_another_user_wrote_does_not_say_what_runs(
    sample: Any, cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    """In a folder that several users write, somebody's record could name somebody's pack."""
    head = sample.git("rev-parse", "HEAD")
    for wanted in (
        Wanted(str(sample.top), head),
        Wanted(str(sample.top), head, roots=(".",), shared=(), include=()),
    ):
        (snapshot,) = warm(cache, [wanted])
        folder = os.path.join(cache.roots[0], "v1")
        for kind in ("requests", "snapshots"):
            for name in os.listdir(os.path.join(folder, kind)):
                given_away(os.path.join(folder, kind, name))
        assert cache.find(wanted) is None
        assert cache.snapshot(snapshot.name) is None
        assert "another user" in caplog.text
        assert warm(cache, [wanted]) == [snapshot]  # had again
        # Whoever owns the folder that is named as a cache is trusted with it.
        given_away(cache.roots[0])
        assert cache.find(wanted) == snapshot
        assert cache.snapshot(snapshot.name) == snapshot
        os.chown(cache.roots[0], 0, 0)


def state(top: str) -> list[tuple[str, int, int, int]]:
    found = []
    for where, inner, names in os.walk(top):
        for name in (*inner, *names):
            status = os.lstat(os.path.join(where, name))
            found.append(
                (os.path.join(where, name), status.st_mtime_ns, status.st_ctime_ns, status.st_mode)
            )
    return sorted(found)


def test_I8_later_folders_are_never_written(
    sample: Any, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = sample.git("rev-parse", "HEAD")
    wanted = Wanted(str(sample.top), head)
    (snapshot,) = warm(cache, [wanted])
    first = str(tmp_path / "first")
    both = Cache.open([first, cache.roots[0]])
    before = state(cache.roots[0])
    monkeypatch.setenv("CODEVAULT_OFFLINE", "1")
    assert warm(both, [wanted]) == [snapshot]
    assert read_all(both, snapshot.digest)
    assert both.snapshot(snapshot.name) == snapshot
    both.derived(snapshot.digest, "cp", lambda: b"x")
    assert [entry.snapshot for entry in both.ls()] == [snapshot]
    assert both.verify().ok
    assert state(cache.roots[0]) == before
    # Even what is damaged there stays, and is fetched into the first folder.
    pack = paths.pack(cache.roots[0], snapshot.digest)
    flip(pack, 20)
    before = state(cache.roots[0])
    assert not both.verify().ok
    with pytest.raises(errors.CorruptEntry):
        both.tree(snapshot.digest)
    assert warm(both, [wanted]) == [snapshot]
    assert read_all(both, snapshot.digest)
    assert state(cache.roots[0]) == before


def test_roots_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CODEVAULT_CACHE", f"{tmp_path}/a{os.pathsep}{tmp_path}/b")
    assert Cache.open().roots == (f"{tmp_path}/a", f"{tmp_path}/b")
    monkeypatch.delenv("CODEVAULT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Cache.open().roots[0].endswith("codevault")
    assert not (tmp_path / "a").exists()


class Killed(BaseException):
    """Stands for a process that ends here."""


OPERATIONS = ("open", "write", "fchmod", "fsync", "link", "unlink", "mkdir", "rename", "chmod")


@pytest.mark.parametrize("fault", ["kill", "enospc"])
def test_I1_I3_I9_a_writer_may_stop_at_any_step(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomicwrite, "durable", True)
    snapshot = Snapshot("c" * 40, (".",), (), (), None, "", None)
    wanted = Wanted(None, "c" * 40, roots=(".",), shared=(), include=())

    def put(cache: Cache) -> str:
        digest = cache.publish(FILES)
        done = Snapshot(snapshot.commit, (".",), (), (), None, digest)
        cache.record(done, wanted)
        return digest

    expected = put(Cache.open(tmp_path / "good"))
    step = 0
    outcomes = set()
    while True:
        step += 1
        cache = Cache.open(tmp_path / f"cache-{step}")
        left = [step]
        with monkeypatch.context() as patch:
            for name in OPERATIONS:
                patch.setattr(os, name, _failing(getattr(os, name), left, fault))
            try:
                put(cache)
            except (Killed, OSError):
                pass
            else:
                if left[0] > 0:
                    break
        # Whatever happened, a reader sees the whole or nothing.
        found = cache.find(wanted)
        outcomes.add(found is not None)
        if found is not None:
            assert read_all(cache, expected) == {p: c for p, (_, c) in FILES.items()}
        report = cache.verify()
        assert report.ok, (step, report)
        assert put(cache) == expected
        assert cache.find(wanted) is not None
        assert cache.verify().ok
    assert step > 25
    assert outcomes == {True, False}


def _failing(real: Callable[..., Any], left: list[int], fault: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 or (fault == "kill" and left[0] < 0):
            raise Killed if fault == "kill" else OSError(errno.ENOSPC, "no space")
        return real(*args, **kwargs)

    return call


def test_I3_publishing_works_without_hard_links(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    digest = cache.publish(FILES)
    assert read_all(cache, digest)
    assert os.listdir(paths.tmp(cache.roots[0])) == []


def test_I2_I3_an_entry_that_is_there_is_kept_unless_it_is_bad(cache: Cache) -> None:
    root = cache.roots[0]
    final = os.path.join(root, "v1", "x")
    atomicwrite.publish_file(final, paths.tmp(root), [b"one"])
    inode = os.stat(final).st_ino
    atomicwrite.publish_file(final, paths.tmp(root), [b"two"], intact=lambda _: True)
    assert os.stat(final).st_ino == inode
    atomicwrite.publish_file(final, paths.tmp(root), [b"two"], intact=lambda _: False)
    with open(final, "rb") as file:
        assert file.read() == b"two"


def test_a_warm_hit_costs_few_opens(sample: Any, cache: Cache, tmp_path: Path, python: Any) -> None:
    head = sample.git("rev-parse", "HEAD")
    (snapshot,) = warm(cache, [Wanted(str(sample.top), head)])
    cache.derived(snapshot.digest, "cp", lambda: b"x")
    out = python(
        "import sys, os\n"
        "from codevault_cache import Cache, Wanted\n"
        "import codevault_cache.derived\n"
        "opened = []\n"
        "cache = Cache.open(sys.argv[1])\n"
        "wanted = Wanted(sys.argv[2], sys.argv[3])\n"
        "sys.addaudithook(lambda e, a: opened.append(a[0]) if e == 'open' else None)\n"
        "s = cache.find(wanted)\n"
        "t = cache.tree(s.digest)\n"
        "cache.derived(s.digest, 'cp', None)\n"
        "print(len(opened))\n",
        cache.roots[0],
        str(sample.top),
        head,
    )
    assert int(out) <= 4


def test_I9_leftovers_of_dead_writers_are_removed(sample: Any, cache: Cache) -> None:
    tmp = paths.tmp(cache.roots[0])
    os.makedirs(os.path.join(tmp, "999999999-folder", "inner"))
    host = removal.tmp_name("").split("-")[1]
    names = {
        f"999999999-{host}-old": 7200,
        f"999999999-{host}-young": 60,
        "999999999-elsewhere-old": 7200,
        f"{os.getpid()}-{host}-mine": 7200,
        "x-day": 90000,
    }
    for name, age in names.items():
        path = os.path.join(tmp, name)
        with open(path, "wb"):
            pass
        then = os.stat(path).st_mtime - age
        os.utime(path, (then, then))
    folder = os.path.join(tmp, "999999999-folder")
    os.utime(folder, (0, 0))
    warm(cache, [Wanted(str(sample.top), sample.git("rev-parse", "HEAD"))])
    kept = ["999999999-elsewhere-old", f"999999999-{host}-young", f"{os.getpid()}-{host}-mine"]
    assert sorted(os.listdir(tmp)) == sorted(kept)


def test_I14_other_versions_are_ignored(sample: Any, cache: Cache) -> None:
    wanted = Wanted(str(sample.top), sample.git("rev-parse", "HEAD"))
    warm(cache, [wanted])
    os.rename(os.path.join(cache.roots[0], "v1"), os.path.join(cache.roots[0], "v2"))
    assert cache.find(wanted) is None
    assert cache.ls() == []


def test_I3_everything_is_synced_before_it_is_visible(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomicwrite, "durable", True)
    calls: list[str] = []
    for name in ("fsync", "link", "rename", "replace"):
        real = getattr(os, name)

        def call(*args: Any, name: str = name, real: Any = real, **kwargs: Any) -> Any:
            if name == "fsync":
                folder = stat.S_ISDIR(os.fstat(args[0]).st_mode)
                calls.append("fsync folder" if folder else "fsync file")
            else:
                calls.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, call)
    root = cache.roots[0]
    atomicwrite.publish_file(os.path.join(root, "v1", "x"), paths.tmp(root), [b"x"])
    assert calls == ["fsync file", "link", "fsync folder"]
    calls.clear()
    folders.publish_folder(paths.tree(root, "d" * 64), paths.tmp(root), FILES)
    assert calls[:3] == ["fsync file"] * 3
    assert calls[3:] == ["fsync folder"] * 2 + ["rename", "fsync folder"]
    calls.clear()
    many = {f"d/{i}.py": (0o100644, b"x") for i in range(folders.MANY)}
    real_sync = folders.sync_file_system

    def sync_all(path: str) -> bool:
        calls.append("sync all")
        return real_sync(path)

    monkeypatch.setattr(folders, "sync_file_system", sync_all)
    folders.publish_folder(paths.tree(root, "e" * 64), paths.tmp(root), many)
    assert calls[0] == "sync all"
    assert calls[-2:] == ["rename", "fsync folder"]
    calls.clear()
    monkeypatch.setattr(folders, "sync_file_system", lambda path: False)
    folders.publish_folder(paths.tree(root, "f" * 64), paths.tmp(root), many)
    assert calls == ["fsync file"] * 100 + ["fsync folder"] * 3 + ["rename", "fsync folder"]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EBADF])
def test_I6_locks_that_fail_do_not_fail_a_fetch(
    code: int, sample: Any, tmp_path: Path, http_server: Any, cache: Cache, monkeypatch: Any
) -> None:
    import fcntl

    def refuse(*args: Any) -> None:
        raise OSError(code, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    folder = tmp_path / "served"
    folder.mkdir()
    sample.bare(folder / "r.git")
    url = http_server(folder).url + "/r.git"
    assert warm(cache, [Wanted(url, sample.git("rev-parse", "HEAD"))])
