"""Own modules of two trees: which are loaded, which changed, moved, came and went."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from codevault.evolve.codediff import Code, changes, loaded_by
from codevault.evolve.ownimports import imported_with, modules_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path


class Tree:
    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self.files = {p: t.encode() if isinstance(t, str) else t for p, t in files.items()}

    @property
    def paths(self) -> Collection[str]:
        return self.files.keys()

    def read(self, path: str) -> bytes:
        return self.files[path]


def imported(files: Mapping[str, str], *start: str, roots: Collection[str] = (".",)) -> set[str]:
    tree = Tree(files)
    return imported_with(start, modules_of(tree.paths, list(roots)), tree.read)


def test_modules_of_roots_inside_each_other() -> None:
    paths = ["agent/src/walker/net.py", "walker/net.py", "x/__init__.py", "x.py", "a-b/c.py"]
    table = modules_of(paths, ["agent/src", "."])
    assert table["walker.net"] == "agent/src/walker/net.py"
    assert table["agent.src.walker.net"] == "agent/src/walker/net.py"
    assert table["x"] == "x/__init__.py"
    assert "a-b.c" not in table
    # Of a file with two names the shorter one counts; a hidden file has only its longer one.
    assert set(Code(Tree(dict.fromkeys(paths, "")), ["agent/src", "."]).table()) == {
        "walker.net",
        "x",
    }


def test_imports_are_followed_as_importing_does() -> None:
    files = {
        "p/__init__.py": "from p import first",
        "p/first.py": "from .second import thing\nfrom . import third",
        "p/second.py": "import q.deep.leaf as leaf\nimport torch",
        "p/third.py": "def f():\n    import p.late",
        "p/late.py": "",
        "p/never.py": "",
        "q/__init__.py": "",
        "q/deep/__init__.py": "from ..up import x",
        "q/deep/leaf.py": "class A:\n    import q.inclass\ntry:\n    import q.tried\nfinally: pass",
        "q/up.py": "if TYPE_CHECKING:\n    import p.never\nelse:\n    import q.other",
        "q/inclass.py": "",
        "q/tried.py": "syntax error here",
        "q/other.py": "",
    }
    everything = {
        path.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for path in files
    }
    assert imported(files, "p.first", "gone") == everything - {"p.late", "p.never"}


def test_the_closure_is_what_python_imports(tmp_path: Path) -> None:
    import sys

    files = {
        "robo/__init__.py": "",
        "robo/net.py": "from robo import layers\nfrom robo.util.maths import clip as c",
        "robo/layers/__init__.py": "from .dense import Dense",
        "robo/layers/dense.py": "from ..util import *\nclass Dense: pass",
        "robo/util/__init__.py": "",
        "robo/util/maths.py": "clip = 1",
        "robo/unused.py": "",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    code = "import robo.net, sys; print(*[m for m in sys.modules if m.startswith('robo')])"
    command = [sys.executable, "-B", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert imported(files, "robo.net") == set(done.stdout.split())


BODY = "".join(f"line{n} = {n}\n" for n in range(20))


def test_changed_moved_added_removed() -> None:
    old = Tree({"a.py": "x = 1\n", "b.py": BODY, "gone.py": "y = 1\n", "same.py": "z\n"})
    moved = BODY.replace("line3 = 3\n", "line3 = 4\n")
    new = Tree({"a.py": "x = 2\n", "c/b.py": moved, "come.py": "w = 1\nv = 1\n", "same.py": "z\n"})
    found = {c.kind: c for c in changes(Code(old, ["."]), Code(new, ["."]))}
    assert {kind: (c.old, c.new, c.added, c.removed) for kind, c in found.items()} == {
        "changed": ("a", "a", 1, 1),
        "moved": ("b", "c.b", 1, 1),
        "added": (None, "come", 2, 0),
        "removed": ("gone", None, 0, 1),
    }
    assert "-line3 = 3\n+line3 = 4\n" in found["moved"].diff


def test_a_file_that_moved_between_roots_is_told_apart_from_an_unchanged_one() -> None:
    old, new = Tree({"walker.py": BODY}), Tree({"src/walker.py": BODY})
    (change,) = changes(Code(old, ["."]), Code(new, ["src", "."]))
    assert (change.kind, change.old, change.new, change.diff) == ("moved", "walker", "walker", "")


def test_only_the_modules_that_are_loaded_count() -> None:
    old = Tree({"net.py": "import scale\n", "scale.py": "s = 1\n", "tool.py": "t = 1\n"})
    new = Tree({"net.py": "import scale\n", "scale.py": "s = 2\n", "tool.py": "t = 2\n"})
    sides = [loaded_by(tree, ["."], ["net"]) for tree in (old, new)]
    assert [change.new for change in changes(*sides)] == ["scale"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\nb\n", "a\nc\n"),
        ("a\nb", "a\nb\n"),
        ("a\nb\n", "a\nb"),
        ("", "a\n"),
        ("a\n\x0cb\n", "a\n\x0cc\n"),
        ("é\n", "è\n"),
    ],
)
def test_the_diff_is_one_that_git_applies(tmp_path: Path, before: str, after: str) -> None:
    (change,) = changes(Code(Tree({"m.py": before}), ["."]), Code(Tree({"m.py": after}), ["."]))
    (tmp_path / "m.py").write_bytes(before.encode())
    (tmp_path / "patch").write_bytes(change.diff.encode())
    subprocess.run(["git", "apply", "patch"], cwd=tmp_path, check=True)
    assert (tmp_path / "m.py").read_bytes() == after.encode()
