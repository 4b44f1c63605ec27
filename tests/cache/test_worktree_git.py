"""Settings and states of a work tree that few have, and in which the overlay is still git's."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from codevault_cache import errors, read_worktree
from tests.cache.test_worktree import tree_of_git, tree_of_overlay

if TYPE_CHECKING:
    from pathlib import Path


def overlay_of(repo: Any, roots: tuple[str, ...] = (".",)) -> dict[str, Any]:
    found = read_worktree(str(repo.top), roots=roots).overlay
    return {} if found is None else dict(found.files)


def same_tree(repo: Any) -> None:
    """HEAD with the overlay is what `git add -A` and `git write-tree` give."""
    captured = read_worktree(str(repo.top), roots=["."])
    assert captured.overlay is not None
    assert tree_of_overlay(repo, captured.overlay) == tree_of_git(repo)


# -- modes ----------------------------------------------------------------------------------------


def test_where_modes_do_not_count_the_index_says_them(sample: Any) -> None:
    sample.git("config", "core.fileMode", "false")
    sample.write({"src/agent/new.sh": "#!\n"})
    for name in ("src/agent/new.sh", "src/agent/net.py", "tool.sh"):
        (sample.top / name).chmod(0o755 if name != "tool.sh" else 0o644)
    sample.write({"src/agent/net.py": "width = 4\n", "tool.sh": "#!\n"})
    same_tree(sample)
    assert {p: v[0] for p, v in overlay_of(sample).items()} == {
        "src/agent/new.sh": 0o100644,
        "src/agent/net.py": 0o100644,
        "tool.sh": 0o100755,
    }


def test_a_mode_that_is_staged_counts(sample: Any) -> None:
    sample.git("config", "core.fileMode", "false")
    sample.git("update-index", "--chmod=+x", "src/agent/net.py")
    assert overlay_of(sample) == {"src/agent/net.py": (0o100755, b"width = 3\n")}


# -- repositories inside --------------------------------------------------------------------------


def test_tracked_files_of_a_folder_that_became_a_repository_stay(sample: Any) -> None:
    sample.write({"src/agent/net.py": "width = 4\n"})
    sample.git("init", "-q", "src/agent")
    same_tree(sample)
    assert overlay_of(sample) == {"src/agent/net.py": (0o100644, b"width = 4\n")}


def test_a_git_file_that_leads_nowhere_makes_no_repository(sample: Any) -> None:
    """As in the copy of a submodule's folder."""
    sample.write({"src/lib/m.py": "m = 1\n", "src/lib/.git": "gitdir: ../../nowhere\n"})
    same_tree(sample)
    assert overlay_of(sample) == {"src/lib/m.py": (0o100644, b"m = 1\n")}


def test_a_repository_inside_is_left_out_and_listed(sample: Any, make_repo: Any) -> None:
    inner = make_repo({"m.py": "m = 1\n"}, "inner")
    shutil.copytree(inner.top, sample.top / "src" / "lib")
    shutil.copytree(inner.top, sample.top / "other")
    found = read_worktree(str(sample.top), roots=["src"])
    assert found.overlay is None
    assert found.snapshot.left_out == ("src/lib",)
    sample.write({".gitignore": "lib/\n"})
    assert read_worktree(str(sample.top), roots=["src"]).snapshot.left_out == ()


# -- attributes -----------------------------------------------------------------------------------

LINES = b"a = 1\r\nb = 2\r\n"


@pytest.mark.parametrize("where", ["home", "stated", "folder", "info"])
def test_attributes_count_wherever_git_reads_them(
    where: str, sample: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    place = {
        "home": tmp_path / ".config" / "git" / "attributes",
        "stated": tmp_path / "mine",
        "folder": sample.top / "src" / ".gitattributes",
        "info": sample.top / ".git" / "info" / "attributes",
    }[where]
    sample.git("config", "core.attributesFile", "~/mine" if where == "stated" else "~/none")
    if where == "home":
        sample.git("config", "--unset", "core.attributesFile")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("*.txt text\n")
    sample.write({"src/a.txt": LINES, "src/b.bin": LINES})
    same_tree(sample)
    assert overlay_of(sample)["src/a.txt"] == (0o100644, LINES.replace(b"\r\n", b"\n"))
    assert overlay_of(sample)["src/b.bin"] == (0o100644, LINES)


def test_attributes_of_the_repository_count_in_a_linked_work_tree(
    sample: Any, tmp_path: Path
) -> None:
    sample.git("worktree", "add", "-q", str(tmp_path / "linked"))
    (sample.top / ".git" / "info").mkdir(exist_ok=True)
    (sample.top / ".git" / "info" / "attributes").write_text("*.txt text\n")
    (tmp_path / "linked" / "src" / "a.txt").write_bytes(LINES)
    found = read_worktree(str(tmp_path / "linked"), roots=["."]).overlay
    assert found is not None
    assert found.files == {"src/a.txt": (0o100644, LINES.replace(b"\r\n", b"\n"))}


@pytest.mark.parametrize("required", ["true", "false"])
def test_a_filter_that_is_not_installed(required: str, sample: Any) -> None:
    sample.commit({".gitattributes": "*.txt filter=gone\n"})
    sample.git("config", "filter.gone.clean", "no-such-program-anywhere")
    sample.git("config", "filter.gone.required", required)
    sample.write({"src/a.txt": "a\n"})
    if required == "false":
        same_tree(sample)
        return
    with pytest.raises(errors.EncodingRefused, match=r"filter 'gone', which is required") as caught:
        read_worktree(str(sample.top), roots=["."])
    assert "src/a.txt" in str(caught.value)


def test_what_a_filter_makes_of_a_file_is_kept(sample: Any) -> None:
    sample.commit({".gitattributes": "*.txt filter=loud\n"})
    sample.git("config", "filter.loud.clean", "tr a-z A-Z")
    sample.write({"src/a.txt": "a\n"})
    same_tree(sample)
    assert overlay_of(sample)["src/a.txt"] == (0o100644, b"A\n")
