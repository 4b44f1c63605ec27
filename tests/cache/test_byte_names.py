"""Names that are no UTF-8 are bytes, as they are to git: captured, fetched and laid out exactly."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from codevault_cache import (
    Cache,
    Overlay,
    Wanted,
    errors,
    overlay_entries,
    overlay_from,
    read_worktree,
    warm,
)
from codevault_cache.gitobjects import read_pack
from codevault_cache.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable

CAFE = b"src/caf\xe9.txt"
DEEP = b"src/\xc6\xc1\xca\xcc/\x9b[2J.bin"
LINK = b"src/l\xefnk"
MODULE = b"src/agent/m\xf6d.py"
STRANGE = {CAFE: b"caf\xe9\n", DEEP: bytes(range(256)), MODULE: b"x = 1\n"}


def put(repo: Any, files: dict[bytes, bytes]) -> None:
    for path, content in files.items():
        full = os.path.join(os.fsencode(repo.top), path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(content)


def tree_of_git(repo: Any) -> str:
    scratch = {"GIT_INDEX_FILE": str(repo.top / ".git" / "scratch.idx")}
    repo.git("read-tree", "HEAD", env=scratch)
    repo.git("add", "-A", env=scratch)
    return str(repo.git("write-tree", env=scratch))


def tree_of_overlay(repo: Any, overlay: Overlay) -> str:
    """HEAD with an overlay, written by git from its own objects."""
    scratch = {"GIT_INDEX_FILE": str(repo.top / ".git" / "ours.idx")}
    repo.git("read-tree", "HEAD", env=scratch)
    lines = b""
    for path, value in overlay.files.items():
        oid = "0" * 40 if value is None else repo.git("hash-object", "-w", "--stdin", data=value[1])
        mode = 0 if value is None else value[0]
        lines += b"%o %s\t%s\0" % (mode, oid.encode(), os.fsencode(path))
    repo.git("update-index", "-z", "--index-info", data=lines, env=scratch)
    return str(repo.git("write-tree", env=scratch))


def dirty(repo: Any) -> None:
    """Each kind of change to files of such names, and in a folder of such a name."""
    top = os.fsencode(repo.top)
    put(
        repo,
        STRANGE | {b"src/gone\xff": b"gone", b"src/run\xff.sh": b"#!", b"src/old\xff": b"o" * 99},
    )
    repo.commit()
    put(repo, {CAFE: b"changed", b"src/new \xfe.txt": b"new", b"src/staged\xfe": b"staged"})
    put(repo, {b"src/\xc6\xc1\xca\xcc/in\xff/deep.txt": b"deep", b"src/skip\xff.log": b"ignored"})
    repo.git("add", b"src/staged\xfe")
    os.unlink(top + b"/src/gone\xff")
    os.chmod(top + b"/src/run\xff.sh", 0o755)
    os.rename(top + b"/src/old\xff", top + b"/src/moved\xff")
    os.symlink(b"caf\xe9.txt", top + b"/" + LINK)
    repo.git("config", "core.autocrlf", "input")
    put(repo, {b"src/crlf\xff.txt": b"a\r\nb\r\n"})


@pytest.fixture
def work(sample: Any) -> Any:
    sample.commit({".gitignore": "*.log\n"})
    return sample


def test_the_overlay_is_exactly_what_git_would_add(work: Any) -> None:
    dirty(work)
    captured = read_worktree(str(work.top), roots=["."])
    assert captured.overlay is not None
    assert tree_of_overlay(work, captured.overlay) == tree_of_git(work)
    files = {os.fsencode(path): value for path, value in captured.overlay.files.items()}
    assert (files[b"src/gone\xff"], files[b"src/old\xff"]) == (None, None)
    assert files[b"src/run\xff.sh"] == (0o100755, b"#!")
    assert files[LINK] == (0o120000, b"caf\xe9.txt")
    assert files[b"src/crlf\xff.txt"] == (0o100644, b"a\nb\n")
    assert b"src/skip\xff.log" not in files


@pytest.mark.parametrize("sha", ["sha1", "sha256"])
def test_the_overlay_travels_and_arrives_equal(
    sha: str, work: Any, make_repo: Any, cache: Cache
) -> None:
    if sha == "sha256":
        work = make_repo({"src/a.py": "a = 1\n"}, "other", "--object-format=sha256")
    dirty(work)
    found = read_worktree(str(work.top), roots=["src"], embed=True)
    assert found.overlay is not None
    text = json.dumps(overlay_entries(found.overlay), ensure_ascii=False).encode()  # it is UTF-8
    overlay = overlay_from(json.loads(text), found.objects)
    assert (overlay, overlay.digest) == (found.overlay, found.overlay.digest)
    wanted = Wanted(
        None, found.head, roots=("src",), shared=(), include=(), overlay=overlay,
        digest=found.snapshot.digest, objects=found.objects,
    )  # fmt: skip
    (snapshot,) = warm(cache, [wanted])
    tree = cache.tree(snapshot.digest)
    assert tree.read(os.fsdecode(CAFE)) == b"changed"
    top = os.fsencode(tree.folder)
    assert b"new \xfe.txt" in os.listdir(top + b"/src")
    with open(
        os.path.join(tree.folder, "src", os.fsdecode(b"\xc6\xc1\xca\xcc/in\xff/deep.txt"))
    ) as file:
        assert file.read() == "deep"
    # A link becomes a copy of the file that it leads to.
    with open(top + b"/" + LINK, "rb") as copy:
        assert copy.read() == b"changed"
    assert verify(cache).ok
    # The objects are the ones that git has.
    objects = read_pack(found.objects or b"")
    assert work.git("rev-parse", "HEAD:src") in objects
    work.git("index-pack", "--stdin", "--strict", data=found.objects)


@pytest.mark.parametrize("kind", ["local", "http"])
def test_committed_files_are_in_the_snapshot(
    kind: str, work: Any, cache: Cache, http_server: Callable[..., Any]
) -> None:
    put(work, STRANGE)
    commit = work.commit()
    address = str(work.top)
    if kind == "http":
        address = f"{http_server(work.top.parent).url}/{work.top.name}/.git"
    (snapshot,) = warm(cache, [Wanted(address, commit, roots=("src",))])
    found = read_worktree(str(work.top), roots=["src"])
    assert (found.overlay, found.snapshot.digest) == (None, snapshot.digest)
    tree = cache.tree(snapshot.digest)
    assert {os.fsencode(path) for path in tree.paths} >= set(STRANGE)
    for path, content in STRANGE.items():
        assert tree.read(os.fsdecode(path)) == content
        with open(os.path.join(os.fsencode(tree.folder), path), "rb") as file:
            assert file.read() == content
    assert json.loads(snapshot.to_json()) is not None
    assert snapshot.left_out == ()
    assert verify(cache).ok


def test_a_byte_of_a_laid_out_file_that_changes_is_told_in_ascii(work: Any, cache: Cache) -> None:
    put(work, STRANGE)
    (snapshot,) = warm(cache, [Wanted(str(work.top), work.commit(), roots=("src",))])
    path = os.path.join(os.fsencode(cache.tree(snapshot.digest).folder), DEEP)
    os.chmod(path, 0o644)
    (bad,) = verify(cache).bad
    assert "x9b" not in bad.why
    assert "udc9b[2J.bin" in bad.why
    assert bad.why.isprintable()


def test_what_is_left_out_is_listed_as_text(work: Any, cache: Cache) -> None:
    put(work, {b"src/big\xff.bin": bytes(2 << 20)})
    found = read_worktree(str(work.top), roots=["src"])
    commit = work.commit()
    (snapshot,) = warm(cache, [Wanted(str(work.top), commit, roots=("src",))])
    assert snapshot.left_out == found.snapshot.left_out == ("src/big\\xff.bin",)
    with_it = read_worktree(str(work.top), roots=["src"], include=["src/big?.bin"])
    assert with_it.snapshot.left_out == ()


def test_roots_and_globs_are_text(work: Any) -> None:
    put(work, {b"f\xff/a.py": b"a = 1\n", b"f\xff/g/b.txt": b"b"})
    for named in ({"roots": [os.fsdecode(b"f\xff")]}, {"include": [os.fsdecode(b"f\xff/**")]}):
        with pytest.raises(errors.UnsafeName, match="is no UTF-8"):
            read_worktree(str(work.top), **named)  # type: ignore[arg-type]
    found = read_worktree(str(work.top), roots=["src"], include=["f?/**/*.txt"])
    assert found.overlay is not None
    assert [*map(os.fsencode, found.overlay.files)] == [b"f\xff/g/b.txt"]


def test_the_diff_names_files_as_git_does(work: Any) -> None:
    dirty(work)
    put(work, {'src/größe "a".txt'.encode(): b"1\n"})
    diff = (read_worktree(str(work.top), roots=["."], objects=True).diff or b"").decode("latin-1")
    work.git("add", "-A", "-N")
    git = subprocess.run(
        ["git", "-C", str(work.top), "diff", "--no-renames", "HEAD"],
        capture_output=True,
        check=True,
    )
    heads = re.compile(r"^diff --git .*$", re.M)
    theirs = heads.findall(git.stdout.decode("latin-1"))
    assert r'diff --git "a/src/caf\351.txt" "b/src/caf\351.txt"' in theirs
    assert [line for line in heads.findall(diff) if line in theirs] == theirs


@pytest.mark.parametrize("name", [b".g\xffit", b"a\xff\\b", b"\xff\x1b[2J", b"..\xff"])
def test_unsafe_names_stay_refused(name: bytes, work: Any, cache: Cache) -> None:
    put(work, {b"src/" + name: b"x"})
    with pytest.raises(errors.UnsafeName) as caught:
        read_worktree(str(work.top), roots=["src"])
    assert "\x1b" not in str(caught.value)
    commit = work.commit()
    with pytest.raises(errors.UnsafeName):
        warm(cache, [Wanted(str(work.top), commit, roots=("src",))])
    assert cache.ls() == []


def test_hints_are_commands_that_name_the_file(work: Any) -> None:
    put(work, {b"src/it's \xff.pem": b"secret"})
    with pytest.raises(errors.SecretRefused) as caught:
        read_worktree(str(work.top), roots=["src"])
    caught.value.why.encode()
    subprocess.run(["bash", "-c", caught.value.hint], cwd=work.top, check=True)
    assert read_worktree(str(work.top), roots=["src"]).overlay is None


def test_a_file_system_that_holds_no_such_names_is_named(
    work: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(work, STRANGE)
    commit, plain = work.commit(), os.open

    def apfs(path: Any, *args: Any, **more: Any) -> int:
        if os.fsencode(path).endswith(b"\xe9.txt"):
            raise OSError(errno.EILSEQ, os.strerror(errno.EILSEQ), path)
        return plain(path, *args, **more)

    monkeypatch.setattr(os, "open", apfs)
    with pytest.raises(errors.Unwritable) as caught:
        warm(cache, [Wanted(str(work.top), commit, roots=("src",))])
    str(caught.value).encode()
    assert r"caf\udce9.txt" in str(caught.value)
    assert "another file system" in caught.value.hint


def test_a_locale_that_is_not_utf_8_is_an_error_that_says_so(work: Any) -> None:
    put(work, {"src/é.txt".encode(): b"x"})
    program = "import sys, codevault_cache as c; c.read_worktree(sys.argv[1], roots=['src'])"
    command = [sys.executable, "-c", program, str(work.top)]
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    for utf8, way_out in (("0", "PYTHONUTF8=1"), ("1", "")):
        env = {**os.environ, **plain, "PYTHONUTF8": utf8}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert (way_out in done.stderr, done.returncode == 0) == (True, utf8 == "1"), done.stderr


def test_a_work_tree_in_a_folder_of_such_a_name_is_refused(work: Any) -> None:
    strange = os.fsdecode(os.fsencode(work.top) + b"\xff")
    os.rename(work.top, strange)
    with pytest.raises(errors.UnsafeName, match="folder whose name is no UTF-8") as caught:
        read_worktree(strange, roots=["src"])
    assert caught.value.hint.startswith("mv $'/")
    assert r"\377' " in caught.value.hint
