"""The past of a repository: every commit of every branch and tag, with its trees and files."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from codevault_cache import Cache
from codevault_cache.commithistory import chronicle, chronicle_at
from codevault_cache.errors import HostileObject, Offline, RepositoryNotFound

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    top = tmp_path / "robots"
    top.mkdir()
    git(top, "init", "--quiet", "--initial-branch=main")
    for number in range(3):
        (top / "net.py").write_text(f"x = {number}\n")
        git(top, "add", "--all")
        git(top, "commit", "--quiet", "--message", "change")
    git(top, "tag", "-a", "v1", "-m", "first")
    git(top, "checkout", "--quiet", "-b", "side", "HEAD~1")
    (top / "side.py").write_text("y = 1\n")
    git(top, "add", "--all")
    git(top, "commit", "--quiet", "--message", "aside")
    git(top, "checkout", "--quiet", "main")
    return top


def expected(repo: Path) -> dict[str, str]:
    lines = git(repo, "log", "--all", "--format=%H %T").splitlines()
    return dict(line.split() for line in lines)


def test_all_commits_of_branches_and_tags(repo: Path, tmp_path: Path) -> None:
    with chronicle(Cache.open(tmp_path / "cache"), str(repo)) as found:
        assert {c.oid: c.tree for c in found.commits} == expected(repo)
        assert [c.time for c in found.commits] == sorted(c.time for c in found.commits)
        newest = next(c for c in found.commits if c.oid == git(repo, "rev-parse", "main"))
        (entry,) = found.entries(newest.tree).values()
        assert found.entry(newest.tree, "net.py") == entry
        assert found.entry(newest.tree, "net.py/x") is None
        assert entry.name == "net.py"
        assert dict(found.files([entry.oid, "0" * 40])) == {entry.oid: b"x = 2\n"}


def test_a_bare_repository_and_a_folder_inside(repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), "bare.git")
    with chronicle(Cache.open(tmp_path / "cache"), str(tmp_path / "bare.git")) as found:
        assert {c.oid for c in found.commits} == set(expected(repo))
    with (
        pytest.raises(RepositoryNotFound),
        chronicle(Cache.open(tmp_path / "cache"), str(tmp_path)),
    ):
        pass


def test_an_empty_repository_has_no_commits(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "empty")
    with chronicle(Cache.open(tmp_path / "cache"), str(tmp_path / "empty")) as found:
        assert found.commits == ()


def test_a_shallow_clone_ends_where_it_ends(repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repo}", "shallow")
    with chronicle(Cache.open(tmp_path / "cache"), str(tmp_path / "shallow")) as found:
        assert [c.oid for c in found.commits] == [git(repo, "rev-parse", "main")]


def test_of_a_server_files_come_when_they_are_asked_for(
    repo: Path, tmp_path: Path, git_daemon: Callable[..., Any]
) -> None:
    git(repo, "config", "uploadpack.allowFilter", "true")
    git(repo, "config", "uploadpack.allowAnySHA1InWant", "true")
    url = f"{git_daemon(repo.parent).url}/{repo.name}"
    cache = Cache.open(tmp_path / "cache")
    with chronicle(cache, url) as found:
        assert {c.oid: c.tree for c in found.commits} == expected(repo)
        oids = {e.oid for c in found.commits for e in found.entries(c.tree).values()}
        texts = dict(found.files(oids))
        assert sorted(texts.values()) == [b"x = 0\n", b"x = 1\n", b"x = 2\n", b"y = 1\n"]


def test_offline_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEVAULT_OFFLINE", "1")
    opened: Any = chronicle(Cache.open(tmp_path / "cache"), "https://example.org/robots.git")
    with pytest.raises(Offline), opened:
        pass


def test_the_line_between_two_commits_follows_first_parents(repo: Path) -> None:
    git(repo, "merge", "--quiet", "--no-edit", "side")
    asked = ("rev-list", "--first-parent", "--reverse", "main")
    first, *later = git(repo, *asked).splitlines()
    with chronicle_at(str(repo)) as found:
        assert found.head == later[-1]
        line = found.line(first, later[-1])
        assert [c.oid for c in line] == [first, *later]
        assert line[-1].parents == (later[-2], git(repo, "rev-parse", "side"))
        subjects = git(repo, "log", "--first-parent", "--reverse", "--format=%s").splitlines()
        assert [c.subject for c in line] == subjects
        # One that is not on the line stands before the last one that is older.
        aside = git(repo, "rev-parse", "side")
        assert found.line(aside, later[-1])[0].oid == aside
        assert found.line("0" * 40, later[-1]) == found.line(first, "0" * 40) == ()
        assert found.line(first, git(repo, "rev-parse", "main^{tree}")) == ()


def test_parents_count_only_where_git_reads_them(repo: Path) -> None:
    """A line that looks like a parent, behind the author or in a signature, leads nowhere."""
    stray = git(repo, "rev-parse", "side")
    tree = git(repo, "rev-parse", "main^{tree}")
    who = "A <a@b> 1 +0000"
    text = f"tree {tree}\nauthor {who}\nparent {stray}\ncommitter {who}\n\nx\n"
    command = [
        "git",
        "-C",
        str(repo),
        "hash-object",
        "-t",
        "commit",
        "-w",
        "--stdin",
        "--literally",
    ]
    done = subprocess.run(command, input=text.encode(), check=True, capture_output=True)
    oid = done.stdout.decode().strip()
    git(repo, "update-ref", "refs/heads/main", oid)
    git(repo, "branch", "-D", "side")
    assert stray not in git(repo, "rev-list", "--branches").split()
    with chronicle_at(str(repo)) as found:
        assert {c.oid for c in found.commits} == set(expected(repo))


def test_a_damaged_commit_is_told(repo: Path) -> None:
    oid = git(repo, "rev-parse", "main")
    file = repo / ".git" / "objects" / oid[:2] / oid[2:]
    other = git(repo, "rev-parse", "side")
    file.chmod(0o644)
    file.write_bytes((repo / ".git" / "objects" / other[:2] / other[2:]).read_bytes())
    with chronicle_at(str(repo)) as found, pytest.raises(HostileObject):
        _ = found.commits
