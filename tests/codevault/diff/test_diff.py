"""`codevault diff`: checkpoints, commits and folders against each other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner

import codevault
from codevault.cli import main
from codevault.diff.difference import difference
from codevault.errors import CheckpointError, CodevaultError
from tests.codevault.conftest import NEWER
from tests.codevault.test_light import imported_after

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["diff", *arguments], catch_exceptions=False)


def save(path: Path, policy: Any, **architecture: Any) -> str:
    described = {"class_path": type(policy), "kwargs": architecture}
    codevault.save_policy(path, policy, architecture=described, probe=torch.ones(1, 4))
    return str(path)


@pytest.fixture
def aged(walker: Any, tmp_path: Path) -> Any:
    """A project with a policy saved before and after its refactoring, and the two commits."""
    walker.write({"src/walker/other.py": "unrelated = 1\n"})
    walker.old = walker.commit()
    walker.net = walker.load("walker.net")
    walker.first = save(tmp_path / "a.mpt", walker.net.Walker(4, 3), inputs=4, actions=3)
    newer = NEWER | {"src/walker/other.py": "unrelated = 2\n"}
    walker.new = walker.commit(newer)
    walker.net = walker.load("walker.net")
    walker.second = save(tmp_path / "b.mpt", walker.net.Walker(4, 2), obs_dim=4, actions=2)
    return walker


def test_two_checkpoints(aged: Any) -> None:
    found = difference(aged.first, aged.second)
    assert {(m.kind, m.old, m.new) for m in found.modules} == {
        ("changed", "walker.net", "walker.net"),
        ("removed", "walker.scale", None),
        ("added", None, "walker.factor"),
    }  # and not walker.other, which no policy loads
    assert found.architecture is not None
    assert {(f.name, f.old, f.new) for f in found.architecture} == {
        ("kwargs.inputs", 4, None),
        ("kwargs.obs_dim", None, 4),
        ("kwargs.actions", 3, 2),
    }
    assert found.packages == ()
    assert found.weights is False
    assert found.snapshot == ()


def test_a_checkpoint_and_a_commit_of_its_repository(aged: Any) -> None:
    found = difference(aged.first, f"{aged.top}@{aged.new}")
    assert [m.new for m in found.modules if m.kind == "added"] == ["walker.factor"]
    assert found.new.snapshot.roots == ("src",)
    assert found.architecture is None
    assert found.weights is None


def test_a_checkpoint_and_a_folder_as_it_is_now(aged: Any) -> None:
    aged.write({"src/walker/factor.py": "FACTOR = 5.0\n"})
    (change,) = difference(aged.second, str(aged.top)).modules
    assert (change.kind, change.new) == ("changed", "walker.factor")
    assert "+FACTOR = 5.0" in change.diff


def test_uncommitted_changes_of_a_checkpoint_count(aged: Any, tmp_path: Path) -> None:
    aged.write({"src/walker/factor.py": "FACTOR = 7.0\n"})
    aged.net = aged.load("walker.net")
    dirty = save(tmp_path / "c.mpt", aged.net.Walker())
    (change,) = difference(aged.second, dirty).modules
    assert "+FACTOR = 7.0" in change.diff
    assert "1 uncommitted" in run(aged.second, dirty, "--stat").output


def test_bare_commits_are_of_the_other_side_or_of_this_folder(
    aged: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    every = {"walker.net", "walker.scale", "walker.factor", "walker.other"}
    changed = {m.new or m.old for m in difference(aged.old, str(aged.top)).modules}
    assert changed == every
    monkeypatch.chdir(aged.top / "src")
    assert {m.new or m.old for m in difference(aged.old, aged.new).modules} == every
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CodevaultError, match="which repository"):
        difference(aged.old, aged.new)


def test_modules_limits_what_counts(aged: Any) -> None:
    place = f"{aged.top}@{aged.old}", f"{aged.top}@{aged.new}"
    found = difference(*place, modules=["walker.other"])
    assert [m.new for m in found.modules] == ["walker.other"]
    result = run(*place, "--modules", "walker.nett")
    assert result.exit_code == 1
    assert "walker.net" in result.output


def test_nothing_changed(aged: Any) -> None:
    result = run(aged.first, aged.first)
    assert "no difference" in result.output
    assert result.exit_code == 0
    assert "weights       the same bytes" in result.output


def test_roots_of_a_commit(aged: Any) -> None:
    aged.git("mv", "src", "lib")
    moved = aged.commit({"pyproject.toml": '[tool.codevault]\nroots = ["lib"]\n'})
    found = difference(aged.second, f"{aged.top}@{moved}")
    assert [(f.name, f.old, f.new) for f in found.snapshot] == [("roots", ["src"], ["lib"])]
    assert {m.kind for m in found.modules} == {"moved"}


def test_text_and_json(aged: Any) -> None:
    text = run(aged.first, aged.second).output
    assert "+from walker.factor import FACTOR" in text
    assert "+from walker" not in run(aged.first, aged.second, "--stat").output
    data = json.loads(run(aged.first, aged.second, "--json").output)
    assert data.keys() == {
        "old", "new", "compared", "modules", "snapshot", "architecture", "packages", "weights"
    }  # fmt: skip
    assert data["old"].keys() == {"uri", "repo", "commit", "digest", "splint", "overlay"}
    assert data["old"]["commit"] == aged.old
    assert data["modules"][0].keys() == {
        "kind", "old", "new", "old_path", "new_path", "added", "removed", "diff"
    }  # fmt: skip
    shorter = json.loads(run(aged.first, aged.second, "--json", "--stat").output)
    assert "diff" not in shorter["modules"][0]


def test_no_grant_is_needed_to_read(aged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from codevault import userdir

    monkeypatch.setattr(userdir, "read", lambda *_: None)  # somebody else saved them
    assert run(aged.first, aged.second, "--stat").exit_code == 0


def test_moving_names_are_refused(aged: Any) -> None:
    result = run(f"{aged.top}@main", str(aged.top))
    assert result.exit_code == 2
    assert f"git -C {aged.top} rev-parse 'main^0'" in result.output
    result = run("main", str(aged.top))
    assert result.exit_code == 1
    assert "main is no checkpoint, folder or full commit" in result.output
    assert "git rev-parse 'main^0'" in result.output


def test_what_is_no_side_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        difference(str(tmp_path / "gone.mpt"), str(tmp_path))


def test_control_characters_of_code_do_not_reach_the_terminal(aged: Any) -> None:
    aged.write({"src/walker/factor.py": "FACTOR = 5.0  # \x1b[2J\ttab\n"})
    output = run(aged.second, str(aged.top)).output
    assert "\x1b" not in output
    assert r"# \x1b[2J" in output
    assert "\ttab" in output


def test_torch_is_not_imported(aged: Any) -> None:
    code = (
        "from codevault.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as e: assert not e.code, e.code"
    )
    assert "torch" not in imported_after(code, "diff", aged.first, aged.second)


def test_a_module_that_only_a_call_imports_is_followed_where_it_went(
    project: Any, tmp_path: Path
) -> None:
    """As configs import their policies: in `make_policy`, so that reading imports shows nothing."""
    config = (
        "import dataclasses\n@dataclasses.dataclass\nclass Config:\n    hidden: int = 8\n"
        "    def make_policy(self, env):\n        from robot.net import Net\n"
        "        return Net(self.hidden)\n"
    )
    net = (
        "import torch\nfrom robot.act import act\nclass Net(torch.nn.Module):\n"
        "    def __init__(self, hidden):\n        super().__init__()\n"
        "        self.body = torch.nn.Linear(4, hidden)\n        self.head = None\n"
        "    def forward(self, x):\n        return act(self.body(x))\n"
    )
    first = {"src/robot/__init__.py": "", "src/robot/config.py": config, "src/robot/net.py": net}
    project.commit(first | {"src/robot/act.py": "def act(x): return x\n"})
    made = project.load("robot.config").Config()
    policy, best = made.make_policy(None), tmp_path / "best.mpt"
    codevault.save_policy(best, policy, architecture=made, env={}, probe=torch.ones(1, 4))
    project.commit(
        {
            "src/robot/net.py": None,
            "src/robot/nets/__init__.py": "",
            "src/robot/nets/plain.py": net.replace("robot.act", "robot.nets.acts"),
            "src/robot/nets/acts.py": "def act(x): return -x\n",
            "src/robot/config.py": config.replace("robot.net", "robot.nets.plain"),
        }
    )
    for pair in ((str(best), str(project.top)), (str(project.top), str(best))):
        found = {(m.kind, m.old, m.new) for m in difference(*pair).modules}
        moved = ("robot.net", "robot.nets.plain")
        assert ("moved", *(moved if pair[0] == str(best) else moved[::-1])) in found, found
    assert ("removed", "robot.nets.acts", None) in found, "what it imports counts too"
