"""For any state of a work tree, HEAD with the overlay is the tree that git itself would write."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from codevault_cache import read_worktree
from codevault_cache.gitobjects import object_id
from tests.cache.conftest import Repo

NAMES = [
    "a.py",
    "b.txt",
    "c.log",
    "d.bat",
    "pkg/a.py",
    "pkg/data.bin",
    "pkg/deep/x.py",
    "pkg/keep.log",
    "build/out.py",
    "build/deep/y.txt",
    "with space/ü.py",
    "-dash",
    "[x].py",
    "crlf.txt",
    os.fsdecode(b"caf\xe9.txt"),
    os.fsdecode(b"pkg/\xc6\xc1\xca\xcc/\x9b[2J.py"),
    os.fsdecode(b"\xff \xc0/keep.log"),
]
CONTENTS = [
    b"",
    b"x = 1\n",
    b"x = 2\n",
    b"a\r\nb\r\n",
    b"a\r\nb\nc\r",
    b"\0\1\2\r\n" * 5,
    b"$Id$\n",
    b"\xff\xfe\r\n",
    b"no end",
    b"a\rb\r\n",
]
IGNORES = [
    "",
    "*.log\n",
    "build/\n",
    "*.log\n!keep.log\n",
    "/a.py\n",
    "pkg/*\n!pkg/deep\n",
    "**/deep/\n",
    "[ab].*\n# note\n\\#x\n",
    "build/*\n!build/deep/\n",
    "*\n!*/\n!*.py\n",
    os.fsdecode(b"caf\xe9*\n\xff \xc0/\n"),
    "caf?.txt\npkg/[^b]???/\n",
]
ATTRIBUTES = [
    "",
    "* text=auto\n",
    "*.txt text\n*.bin -text\n",
    "*.txt text eol=crlf\n*.py eol=lf\n",
    "*.bat text eol=crlf\n* -text\n",
    "*.py binary\n",
    "* text=auto eol=lf\n",
    "pkg/** text\n",
    os.fsdecode(b"caf\xe9.txt text\n*.py -text\n"),
]

names = st.sampled_from(NAMES)
contents = st.sampled_from(CONTENTS)
steps = st.one_of(
    st.tuples(st.just("write"), names, contents),
    st.tuples(st.just("remove"), names),
    st.tuples(st.just("rename"), names, names),
    st.tuples(st.just("chmod"), names),
    st.tuples(st.just("link"), names, st.sampled_from(["a.py", "../x", "pkg", "nowhere"])),
    st.tuples(st.just("stage"), names),
    st.tuples(st.just("unstage"), names),
    st.tuples(st.just("folder"), names),
    st.tuples(st.just("nested"), st.sampled_from(["sub", "pkg/sub"])),
    st.tuples(st.just("ignore"), st.sampled_from(["", "pkg/"]), st.sampled_from(IGNORES)),
)


def make_room(top: Path, path: str) -> Path:
    """A path at which a file can be made: files in the place of its folders go."""
    target = top / path
    for above in reversed(target.relative_to(top).parents):
        if (top / above).is_symlink() or (top / above).is_file():
            (top / above).unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.is_file():
        target.unlink()
    elif target.is_dir():
        shutil.rmtree(target)
    return target


def apply(repo: Repo, step: tuple[Any, ...]) -> None:
    kind, *args = step
    there = repo.top / args[0] if kind != "ignore" else repo.top
    is_file = there.is_file() and not there.is_symlink()
    if kind == "write":
        make_room(repo.top, args[0]).write_bytes(args[1])
    elif kind == "remove" and os.path.lexists(there) and not there.is_dir():
        there.unlink()
    elif kind == "rename" and is_file and args[0] != args[1]:
        content, mode = there.read_bytes(), there.stat().st_mode
        there.unlink()
        target = make_room(repo.top, args[1])
        target.write_bytes(content)
        target.chmod(mode)
    elif kind == "chmod" and is_file:
        there.chmod(there.stat().st_mode ^ 0o100)
    elif kind == "link":
        make_room(repo.top, args[0]).symlink_to(args[1])
    elif kind == "stage" and is_file:
        repo.git("add", "-f", "--", f":(literal){args[0]}")
    elif kind == "unstage":
        repo.git("rm", "-q", "-r", "--cached", "--ignore-unmatch", "--", f":(literal){args[0]}")
    elif kind == "folder":
        make_room(repo.top, args[0]).mkdir()
        (there / "inner.py").write_bytes(b"inner = 1\n")
    elif kind == "nested" and not there.exists() and not os.path.lexists(there.parent / ".git/x"):
        if there.parent.is_dir() and not there.parent.is_symlink():
            there.mkdir()
            (there / ".git").mkdir()
            (there / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
            (there / ".git" / "objects").mkdir()
            (there / ".git" / "refs").mkdir()
            (there / "z.py").write_text("z = 1\n")
    elif kind == "ignore" and (repo.top / args[0]).is_dir():
        make_room(repo.top, args[0] + ".gitignore").write_bytes(os.fsencode(args[1]))


def tree_id(files: dict[str, tuple[int, str]]) -> str:
    """The id of the tree that holds these files, by git's rules."""
    folders: dict[str, dict[str, tuple[int, str]]] = {}
    lines: list[tuple[bytes, bytes]] = []
    for path, (mode, oid) in files.items():
        top, slash, rest = path.partition("/")
        if slash:
            folders.setdefault(top, {})[rest] = (mode, oid)
        else:
            name = os.fsencode(path)
            lines.append((name, b"%o %s\0" % (mode, name) + bytes.fromhex(oid)))
    for folder, inside in folders.items():
        name = os.fsencode(folder)
        lines.append((name + b"/", b"40000 %s\0" % name + bytes.fromhex(tree_id(inside))))
    return object_id("tree", b"".join(line for _, line in sorted(lines)))


def tree_of_git(repo: Repo) -> str:
    """What `git add -A` would write from here, without touching the index."""
    index = repo.top / ".git" / "index"
    scratch = {"GIT_INDEX_FILE": str(repo.top / ".git" / "scratch")}
    shutil.copy2(index, repo.top / ".git" / "scratch")
    # git would record nested repositories as submodules; they are not part of this one's files.
    for i, nested in enumerate(("sub", "pkg/sub")):
        if (repo.top / nested / ".git").is_dir():
            (repo.top / nested).rename(repo.top / ".git" / f"nested-{i}")
    repo.git("add", "-A", env=scratch)
    return repo.git("write-tree", env=scratch)


def tree_of_overlay(repo: Repo) -> str:
    captured = read_worktree(str(repo.top), roots=["."], objects=False)
    files: dict[str, tuple[int, str]] = {}
    for line in repo.git("ls-tree", "-r", "-z", "HEAD").split("\0"):
        if line:
            head, _, path = line.partition("\t")
            mode, _, oid = head.split(" ")
            files[path] = (int(mode, 8), oid)
    for path, value in (captured.overlay.files if captured.overlay is not None else {}).items():
        if value is None:
            del files[path]
        else:
            files[path] = (value[0], object_id("blob", value[1]))
    return tree_id(files)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    committed=st.dictionaries(names, contents, min_size=1, max_size=6),
    ignored=st.sampled_from(IGNORES),
    attributes=st.sampled_from(ATTRIBUTES),
    autocrlf=st.sampled_from(["false", "input", "true"]),
    modes=st.sampled_from(["true", "false"]),
    changes=st.lists(steps, max_size=8),
)
@example({"a.py": b"x = 1\n"}, "*.log\n", "", "false", "true", [("write", "pkg/keep.log", b"x"),
         ("stage", "pkg/keep.log"), ("unstage", "a.py")])  # fmt: skip
@example({"a.py": b""}, "[ab].*\n", "", "false", "true", [("unstage", "a.py")])
@example({"crlf.txt": b"a\r\nb\r\n"}, "", "", "true", "true",
         [("write", "crlf.txt", b"a\r\nb\nc\r")])  # fmt: skip
def test_head_with_the_overlay_is_what_git_would_write(
    committed: dict[str, bytes],
    ignored: str,
    attributes: str,
    autocrlf: str,
    modes: str,
    changes: list[tuple[Any, ...]],
) -> None:
    with tempfile.TemporaryDirectory() as top:
        repo = Repo(Path(top))
        repo.git("init", "-q", "-b", "main")
        for path, content in committed.items():
            make_room(repo.top, path).write_bytes(content)
        repo.git("add", "-A", "-f")
        repo.git("commit", "-q", "--allow-empty", "-m", "x")
        # Files whose recorded state is right are not looked at; whether it is would depend on luck.
        for path in committed:
            if (repo.top / path).is_file():
                os.utime(repo.top / path, (1_600_000_000, 1_600_000_000))
        repo.git("config", "core.autocrlf", autocrlf)
        repo.git("config", "core.fileMode", modes)
        (repo.top / ".gitignore").write_bytes(os.fsencode(ignored))
        (repo.top / ".gitattributes").write_bytes(os.fsencode(attributes))
        for step in changes:
            apply(repo, step)
            event(step[0])
        assert tree_of_overlay(repo) == tree_of_git(repo)
