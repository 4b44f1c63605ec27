"""Uncommitted and unpushed work is captured exactly, and loads without the work tree."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from codevault_cache import (
    Cache,
    Wanted,
    errors,
    find_worktree,
    limits,
    overlay_entries,
    overlay_from,
    read_worktree,
    warm,
)
from codevault_cache.gitobjects import object_id, read_pack

if TYPE_CHECKING:
    from pathlib import Path


def dirty(repo: Any) -> None:
    """Every kind of change that git knows."""
    repo.write(
        {
            "src/agent/net.py": "width = 30\n",
            "src/agent/new file.py": "no newline",
            "src/agent/bin.dat": bytes(range(256)),
            "src/agent/crlf.py": b"a = 1\r\n",
            "src/agent/skip.log": "ignored",
            "src/agent/staged.py": "staged = 1\n",
            "other/outside.txt": "outside",
        }
    )
    repo.git("add", "src/agent/staged.py")
    (repo.top / "src/agent/data.json").unlink()
    (repo.top / "src/agent/__init__.py").chmod(0o755)
    (repo.top / "src/agent/link.py").symlink_to("net.py")


@pytest.fixture
def work(sample: Any) -> Any:
    sample.commit({".gitignore": "*.log\n"})
    return sample


def tree_of_git(repo: Any) -> str:
    """What git would write, without touching its index."""
    scratch = {"GIT_INDEX_FILE": str(repo.top / ".git" / "scratch.idx")}
    repo.git("read-tree", "HEAD", env=scratch)
    repo.git("add", "-A", env=scratch)
    return str(repo.git("write-tree", env=scratch))


def tree_of_overlay(repo: Any, overlay: Any, scratch_name: str = "ours.idx") -> str:
    """HEAD with an overlay, written by git."""
    scratch = {"GIT_INDEX_FILE": str(repo.top / ".git" / scratch_name)}
    repo.git("read-tree", "HEAD", env=scratch)
    for path, value in overlay.files.items():
        if value is None:
            repo.git("update-index", "--force-remove", path, env=scratch)
        else:
            oid = repo.git("hash-object", "-w", "--stdin", data=value[1])
            info = f"{value[0]:o},{oid},{path}"
            repo.git("update-index", "--add", "--cacheinfo", info, env=scratch)
    return str(repo.git("write-tree", env=scratch))


@pytest.mark.parametrize("autocrlf", ["false", "input"])
def test_the_overlay_is_exactly_what_git_would_add(work: Any, autocrlf: str) -> None:
    work.git("config", "core.autocrlf", autocrlf)
    dirty(work)
    captured = read_worktree(str(work.top), roots=["."])
    assert captured.overlay is not None
    assert tree_of_overlay(work, captured.overlay) == tree_of_git(work)
    assert captured.overlay.files["src/agent/data.json"] is None
    assert "src/agent/skip.log" not in captured.overlay.files


@pytest.mark.parametrize("autocrlf", ["false", "true"])
def test_ident_and_encodings_are_what_git_makes_of_them(work: Any, autocrlf: str) -> None:
    work.git("config", "core.autocrlf", autocrlf)
    attributes = "*.id ident\n*.off -ident\n*.utf8 working-tree-encoding=utf-8\n"
    encodings = ("UTF-16", "utf-16le", "UTF-16BE", "UTF-16LE-BOM", "UTF-32", "ISO-8859-1")
    text = "größe = '€'\r\nnext\r\n"
    files: dict[str, str | bytes] = {
        "a.id": "$Id$ $Id: a b $ $Id: c\n$ $Id:$$Id: d$ $ $Id: open\r\n",
        "b.id": "no keyword",
        "c.off": "$Id: kept $\n",
        "d.utf8": text,
    }
    for n, name in enumerate(encodings):
        attributes += f"*.e{n} text working-tree-encoding={name}\n"
        plain = text.replace("€", "e") if name.startswith("ISO") else text
        codec = name.removesuffix("-BOM").lower()
        mark = b"\xff\xfe" if name.endswith("-BOM") else b""
        files |= {f"x.e{n}": mark + plain.encode(codec), f"empty.e{n}": b""}
    work.commit({".gitattributes": attributes})
    work.write(files)
    captured = read_worktree(str(work.top), roots=["."])
    assert captured.overlay is not None
    assert set(captured.overlay.files) == set(files)
    assert tree_of_overlay(work, captured.overlay) == tree_of_git(work)


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("UTF-16", "x".encode("utf-16-le")),
        ("UTF-16LE", b"\xff\xfex\0"),
        ("UTF-16BE", b"x"),
        ("UTF-32", b"\xff\xfe\0\0\1"),
        ("SHIFT-JIS", b"x"),
        ("no-such", b"x"),
    ],
)
def test_a_file_that_is_not_in_its_encoding_is_refused(
    work: Any, encoding: str, content: bytes
) -> None:
    work.commit({".gitattributes": f"*.txt text working-tree-encoding={encoding}\n"})
    work.write({"src/a.txt": content})
    with pytest.raises(errors.EncodingRefused, match=r"src/a\.txt") as caught:
        read_worktree(str(work.top), roots=["src"])
    assert encoding in str(caught.value)


def test_only_wanted_paths_are_in_the_overlay(work: Any) -> None:
    dirty(work)
    captured = read_worktree(str(work.top / "src" / "agent"), roots=["src"])
    assert captured.top == str(work.top)
    assert captured.overlay is not None
    assert "other/outside.txt" not in captured.overlay.files
    assert captured.snapshot.roots == ("src",)


def test_a_clean_tree_has_no_overlay_and_nothing_is_written(work: Any) -> None:
    def state() -> list[tuple[str, int]]:
        return sorted(
            (os.path.join(where, name), os.lstat(os.path.join(where, name)).st_mtime_ns)
            for where, folders, names in os.walk(work.top)
            for name in (*folders, *names)
        )

    os.utime(work.top / "README.md")
    before = state()
    captured = read_worktree(str(work.top))
    assert captured.overlay is None
    assert captured.diff is None
    assert captured.head == work.git("rev-parse", "HEAD")
    assert captured.tree == work.git("rev-parse", "HEAD^{tree}")
    assert state() == before
    dirty(work)
    before = state()
    read_worktree(str(work.top))
    assert state() == before


@pytest.fixture
def remote(work: Any, tmp_path: Path, http_server: Any) -> Any:
    """The work tree's origin, over http; HEAD is pushed."""
    folder = tmp_path / "served"
    folder.mkdir()
    bare = work.bare(folder / "r.git")
    subprocess.run(["git", "-C", str(bare), "config", "uploadpack.allowFilter", "true"], check=True)
    subprocess.run(["git", "-C", str(bare), "config", "http.receivepack", "true"], check=True)
    server = http_server(folder)
    work.git("remote", "add", "origin", server.url.replace("//", "//me:tok@") + "/r.git")
    work.git("fetch", "-q", "origin")
    return server


def loaded(cache: Cache, captured: Any, repo: str | None, **more: Any) -> Any:
    """Load what a manifest would say."""
    overlay = None
    if captured.overlay is not None:
        overlay = overlay_from(overlay_entries(captured.overlay), captured.objects)
    snapshot = captured.snapshot
    (found,) = warm(
        cache,
        [
            Wanted(
                repo,
                captured.head,
                roots=snapshot.roots,
                shared=snapshot.shared,
                include=snapshot.include,
                overlay=overlay,
                digest=snapshot.digest,
                base=captured.base,
                objects=captured.objects,
                **more,
            )
        ],
    )
    assert (found.digest, found.name) == (snapshot.digest, snapshot.name)
    return found


def test_pushed_and_clean_carries_nothing(work: Any, remote: Any, cache: Cache) -> None:
    captured = read_worktree(str(work.top))
    assert captured.remote == remote.url + "/r.git"
    assert captured.base == captured.head
    assert captured.objects is None
    loaded(cache, captured, captured.remote)


def test_uncommitted_work_travels(work: Any, remote: Any, cache: Cache) -> None:
    dirty(work)
    captured = read_worktree(str(work.top))
    assert captured.base == captured.head
    assert captured.objects is not None
    kinds = {kind for kind, _ in read_pack(captured.objects).values()}
    assert kinds == {"blob"}
    loaded(cache, captured, captured.remote)
    assert captured.diff is not None
    assert "+width = 30\n" in captured.diff.decode()


def test_unpushed_and_uncommitted_work_loads_with_only_the_base_on_the_server(
    work: Any, remote: Any, cache: Cache
) -> None:
    base = work.git("rev-parse", "HEAD")
    work.commit({"src/agent/more.py": "more = 1\n"})
    work.git("mv", "README.md", "src/moved.md")
    work.commit({"src/agent/net.py": "width = 5\n"})
    dirty(work)
    captured = read_worktree(str(work.top), roots=["src"])
    assert captured.base == base
    assert captured.objects is not None
    found = read_pack(captured.objects)
    assert captured.head in found
    unchanged = work.git("rev-parse", "HEAD:src/agent/__init__.py")
    assert object_id("blob", b"more = 1\n") in found
    assert unchanged not in {k for k, (kind, c) in found.items() if kind == "blob"} or (
        captured.overlay is not None and "src/agent/__init__.py" in captured.overlay.files
    )
    loaded(cache, captured, captured.remote)
    assert remote.requests


def test_unpushed_work_loads_for_every_choice_of_roots(
    work: Any, remote: Any, tmp_path: Path
) -> None:
    work.commit({"src/agent/more.py": "more = 1\n", "configs/new/c.yaml": "c: 3\n"})
    for i, (roots, include) in enumerate(
        [(None, None), (["."], []), (["src"], ["configs/**"]), (["src", "configs/new"], ["*.md"])]
    ):
        captured = read_worktree(str(work.top), roots=roots, include=include)
        loaded(Cache.open(tmp_path / f"c{i}"), captured, captured.remote)


@pytest.mark.parametrize("pushed", [True, False])
def test_embedded_work_loads_with_the_server_gone(
    pushed: bool, work: Any, remote: Any, cache: Cache
) -> None:
    if not pushed:
        work.commit({"src/agent/more.py": "more = 1\n", "src/agent/big.bin": b"\0" * (2 << 20)})
    dirty(work)
    captured = read_worktree(str(work.top), embed=True)
    remote.stop()
    loaded(cache, captured, captured.remote)
    loaded(Cache.open(cache.roots[0] + "-2"), captured, None)


def test_without_a_remote_everything_travels(work: Any, cache: Cache, python: Any) -> None:
    captured = read_worktree(str(work.top))
    assert (captured.remote, captured.base) == (None, None)
    assert captured.snapshot.repo == str(work.top)
    loaded(cache, captured, None)


def test_embedded_code_needs_no_dulwich(
    work: Any, cache: Cache, tmp_path: Path, python: Any
) -> None:
    captured = read_worktree(str(work.top), embed=True)
    assert captured.objects is not None
    (tmp_path / "objects").write_bytes(captured.objects)
    out = python(
        "import sys\n"
        "from codevault_cache import Cache, Wanted, warm\n"
        "objects = open(sys.argv[2], 'rb')\n"
        "with objects: data = objects.read()\n"
        "s, = warm(Cache.open(sys.argv[1]), [Wanted(None, sys.argv[3], objects=data)])\n"
        "print(s.digest, 'dulwich' in sys.modules)\n",
        cache.roots[0],
        str(tmp_path / "objects"),
        captured.head,
    )
    assert out.split() == [captured.snapshot.digest, "False"]


def test_warm_reads_a_work_tree_as_it_is_now(work: Any, cache: Cache) -> None:
    (clean,) = warm(cache, [Wanted(str(work.top))])
    assert clean.overlay is None
    dirty(work)
    (now,) = warm(cache, [Wanted(str(work.top))])
    captured = read_worktree(str(work.top))
    assert (now.digest, now.name) == (captured.snapshot.digest, captured.snapshot.name)
    tree = cache.tree(now.digest)
    assert tree.read("src/agent/link.py") == b"width = 30\n"
    assert tree.mode("src/agent/link.py") == 0o100644
    assert "src/agent/data.json" not in tree.paths
    tree.close()
    (again,) = warm(cache, [Wanted(str(work.top))])
    assert again == now


def test_the_stat_cache_of_the_index_is_not_fooled(work: Any) -> None:
    path = work.top / "src/agent/net.py"
    before = path.stat()
    path.write_text("width = 7\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(work.top / ".git" / "index", ns=(before.st_mtime_ns, before.st_mtime_ns))
    captured = read_worktree(str(work.top))
    assert captured.overlay is not None
    assert captured.overlay.files["src/agent/net.py"] == (0o100644, b"width = 7\n")


def test_sparse_checkouts_are_not_deletions(work: Any) -> None:
    work.git("sparse-checkout", "set", "--no-cone", "/src/")
    assert not (work.top / "configs").exists()
    captured = read_worktree(str(work.top), roots=["."])
    assert captured.overlay is None
    tree = read_pack(captured.objects or b"")
    assert object_id("blob", b"a: 1\n") in tree


def test_a_sparse_index_is_refused_with_the_way_out(work: Any) -> None:
    work.git("sparse-checkout", "set", "--cone", "--sparse-index", "src")
    with pytest.raises(errors.CorruptEntry, match="--no-sparse-index"):
        read_worktree(str(work.top), roots=["."])
    work.git("sparse-checkout", "reapply", "--no-sparse-index")
    assert read_worktree(str(work.top), roots=["."]).overlay is None


def test_submodules_and_lfs_pointers_of_a_work_tree_are_refused(work: Any, make_repo: Any) -> None:
    other = make_repo({"m.py": "m = 1\n"}, "other")
    allow = ("-c", "protocol.file.allow=always")
    work.git(*allow, "submodule", "add", "-q", str(other.top), "src/sub")
    work.commit()
    with pytest.raises(errors.SubmoduleRefused, match="src/sub"):
        read_worktree(str(work.top), roots=["src"])
    assert read_worktree(str(work.top), roots=["configs"]).overlay is None
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    work.write({"configs/m.py": pointer})
    with pytest.raises(errors.LfsPointer, match=r"m\.py"):
        read_worktree(str(work.top), roots=["configs"])


def test_find_worktree(work: Any, tmp_path: Path) -> None:
    assert find_worktree(str(work.top / "src/agent/net.py")) == str(work.top)
    assert find_worktree(str(work.top / "gone" / "x.py")) == str(work.top)
    work.git("worktree", "add", "-q", str(tmp_path / "linked"))
    assert find_worktree(str(tmp_path / "linked" / "src")) == str(tmp_path / "linked")
    (tmp_path / "none").mkdir()
    assert find_worktree(str(tmp_path / "none")) is None
    dirty_link = tmp_path / "linked" / "src" / "agent" / "net.py"
    dirty_link.write_text("width = 8\n")
    captured = read_worktree(str(tmp_path / "linked"))
    assert captured.overlay is not None
    assert list(captured.overlay.files) == ["src/agent/net.py"]


def test_no_repository_and_no_commit(make_repo: Any, tmp_path: Path) -> None:
    unborn = make_repo()
    with pytest.raises(errors.CommitNotFound) as caught:
        read_worktree(str(unborn.top))
    subprocess.run(shlex.split(caught.value.hint), check=True, capture_output=True)
    assert read_worktree(str(unborn.top)).overlay is None
    (tmp_path / "plain").mkdir()
    with pytest.raises(errors.RepositoryNotFound):
        read_worktree(str(tmp_path / "plain"))


@pytest.mark.parametrize(
    "name", [".env", "id_rsa", "server.pem", "credentials.json", ".netrc", "a/.env.local", "X.KEY"]
)
def test_untracked_secrets_are_refused_by_name(work: Any, name: str) -> None:
    work.write({f"src/{name}": "secret"})
    with pytest.raises(errors.SecretRefused, match=name.rpartition("/")[2].replace(".", r"\.")):
        read_worktree(str(work.top))
    work.write({".gitignore": f"*.log\n{name.rpartition('/')[2]}\n"})
    read_worktree(str(work.top))


def test_tracked_files_with_such_names_are_not_refused(work: Any) -> None:
    work.commit({"src/.env": "A=1\n", "src/.env.example": "A=\n"})
    work.write({"src/.env": "A=2\n"})
    assert read_worktree(str(work.top)).overlay is not None


def test_too_much_work_names_the_largest_files(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OBJECTS_BYTES", 3000)
    work.write({"src/huge.bin": os.urandom(5000)})
    with pytest.raises(errors.TooLarge, match=r"huge\.bin"):
        read_worktree(str(work.top))


def test_large_uncommitted_files_are_left_out(work: Any) -> None:
    work.write({"src/big.bin": b"\0" * (2 << 20), "README.md": b"\0" * (2 << 20)})
    captured = read_worktree(str(work.top))
    assert captured.snapshot.left_out == ("README.md", "src/big.bin")
    assert captured.overlay is not None
    assert dict(captured.overlay.files) == {"README.md": None}


def test_an_ignored_file_travels_when_include_names_it(work: Any) -> None:
    work.write({"src/agent/_version.log": "1.0"})
    captured = read_worktree(str(work.top), include=["src/agent/_version.log"])
    assert captured.overlay is not None
    assert list(captured.overlay.files) == ["src/agent/_version.log"]


def test_the_nearest_pushed_ancestor_is_the_base(work: Any, remote: Any) -> None:
    pushed = work.git("rev-parse", "HEAD")
    work.commit({"a.txt": "1"})
    second = work.commit({"a.txt": "2"})
    assert read_worktree(str(work.top)).base == pushed
    work.git("push", "-q", "origin", f"{second}:refs/heads/side")
    work.git("fetch", "-q", "origin")
    third = work.commit({"a.txt": "3"})
    assert read_worktree(str(work.top)).base == second
    # A remote branch that moved on still says that its past is there.
    work.git("push", "-q", "origin", f"{third}:refs/heads/side")
    work.git("fetch", "-q", "origin")
    work.git("reset", "-q", "--hard", second)
    captured = read_worktree(str(work.top))
    assert captured.base == captured.head == second


def test_diffs_are_for_people(work: Any, remote: Any) -> None:
    dirty(work)
    captured = read_worktree(str(work.top))
    assert captured.diff is not None
    text = captured.diff.decode()
    assert "Binary files differ" in text
    assert "-width = 3\n+width = 30\n" in text
    assert "No newline at end of file" in text
    assert "tok" not in text
