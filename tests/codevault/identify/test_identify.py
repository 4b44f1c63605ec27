"""Old files of a history whose commits are known: the truth is in the range that is printed."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

import codevault
from codevault.cli import main
from codevault.errors import CodeError, CodevaultError, FetchError
from codevault.identify.identifying import Question, identify
from tests.codevault import old_files

if TYPE_CHECKING:
    from pathlib import Path

    from codevault.identify.identifying import Identified

BASE = """
    import torch
    from torch import nn

    class Base(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = 0
"""
FIRST = """
    import torch
    from torch import nn
    from gait.base import Base

    class Net(Base):
        def __init__(self, inputs=4):
            super().__init__()
            self.body = nn.Linear(inputs, 8)
            self.head = nn.Linear(8, 2)

        def forward(self, obs):
            return self.head(self.body(obs))
"""
RUNNER = """
    import torch

    def save(net, path):
        torch.save({"model_state_dict": net.state_dict(), "iter": 3}, path)
"""
SECOND = FIRST.replace("self.head", "self.actor")
THIRD = SECOND.replace("self.body", "self.encoder") + "        # of another form\n"
NORMED = THIRD.replace(
    "            self.actor", "            self.norm = nn.LayerNorm(8)\n            self.actor"
)
NEWER_RUNNER = RUNNER.replace("model_state_dict", "policy_state_dict")


class History:
    """Commits, a day apart, by the name of what changed."""

    def __init__(self, project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project, self.patch = project, monkeypatch
        self.commits: dict[str, str] = {}
        self.day = 1
        steps: list[tuple[str, dict[str, Any]]] = [
            ("readme", {"README.md": "gait"}),
            ("first", {"gait/__init__.py": "", "gait/base.py": BASE, "gait/net.py": FIRST}),
            ("runner", {"train/run.py": RUNNER}),
            ("docs", {"README.md": "more"}),
            ("second", {"gait/net.py": SECOND}),
            ("docs2", {"README.md": "still more"}),
            ("faster", {"gait/net.py": SECOND.replace("return ", "return 1.0 * ")}),
            ("third", {"gait/net.py": THIRD}),
            ("steps", {"gait/base.py": BASE + "            self.epoch = 0\n"}),
            ("renamed", {"train/run.py": NEWER_RUNNER}),
            ("normed", {"gait/net.py": NORMED}),
            ("moved", {"gait/net.py": None, "gait/policies/__init__.py": "",
                       "gait/policies/net.py": NORMED}),
            ("exported", {"gait/__init__.py": "from gait.policies.net import Net\n"}),
        ]  # fmt: skip
        for name, files in steps:
            self.step(name, files)

    def step(self, name: str, files: dict[str, Any]) -> None:
        for which in ("AUTHOR", "COMMITTER"):
            self.patch.setenv(f"GIT_{which}_DATE", f"2025-03-{self.day:02}T12:00:00Z")
        self.day += 1
        self.commits[name] = self.project.commit(files)

    def policy(self, name: str) -> Any:
        splint = codevault.load_code(self.project.top, self.commits[name], roots=["."])
        module = "gait.policies.net" if name in ("moved", "exported") else "gait.net"
        return splint, splint.load_symbol(f"{module}:Net")()

    def named(self, commits: Any) -> set[str]:
        names = {commit: name for name, commit in self.commits.items()}
        return {names[commit.oid] for commit in commits}


@pytest.fixture
def history(project: Any, monkeypatch: pytest.MonkeyPatch) -> History:
    return History(project, monkeypatch)


def asked(history: History, path: Path, **more: Any) -> Identified:
    return identify(Question(str(path), str(history.project.top), **more))


def best(history: History, path: Path, **more: Any) -> set[str]:
    return history.named(asked(history, path, **more).ranking.ranges[0].commits)


def whole(history: History, name: str, path: Path) -> Path:
    splint, policy = history.policy(name)
    torch.save(policy, path, pickle_module=splint.pickle)
    return path


WHOLE = {
    "first": {"first", "runner", "docs"},
    "second": {"second", "docs2", "faster"},
    "third": {"third"},
    "steps": {"steps", "renamed"},
    "renamed": {"steps", "renamed"},
    "normed": {"normed"},
    "moved": {"moved", "exported"},
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_policies(history: History, tmp_path: Path, name: str) -> None:
    assert best(history, whole(history, name, tmp_path / "policy.pt")) == WHOLE[name]


@pytest.mark.parametrize("name", ["first", "second", "third", "normed"])
def test_whole_policies_of_plain_pickle(history: History, tmp_path: Path, name: str) -> None:
    splint, policy = history.policy(name)
    (tmp_path / "policy.pkl").write_bytes(splint.pickle.dumps(policy))
    assert best(history, tmp_path / "policy.pkl") == WHOLE[name]


WEIGHTS = {
    "docs": {"runner", "docs"},
    "second": {"second", "docs2", "faster"},
    "steps": {"third", "steps"},
    "renamed": {"renamed"},
    "normed": {"normed", "moved", "exported"},
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_in_a_mapping(history: History, tmp_path: Path, name: str) -> None:
    _, policy = history.policy(name)
    late = name in ("renamed", "normed")
    key = "policy_state_dict" if late else "model_state_dict"
    torch.save({key: policy.state_dict(), "iter": 3}, tmp_path / "model_3.pt")
    assert best(history, tmp_path / "model_3.pt") == WEIGHTS[name]


def test_bare_weights(history: History, tmp_path: Path) -> None:
    _, policy = history.policy("third")
    save_file(policy.state_dict(), tmp_path / "weights.safetensors")
    assert best(history, tmp_path / "weights.safetensors") == {"third", "steps", "renamed"}
    named = best(history, tmp_path / "weights.safetensors", class_path="gait.net:Net")
    assert named == {"third", "steps", "renamed"} | {"normed"}  # which has all that the keys name


def test_metta_says_its_class_and_fields(history: History, tmp_path: Path) -> None:
    _, policy = history.policy("second")
    path = tmp_path / "run.mpt"
    old_files.metta(path, "gait.net.Net(inputs=4)", policy.state_dict())
    found = asked(history, path)
    assert history.named(found.ranking.ranges[0].commits) == WHOLE["second"]
    assert "--class" not in found.line


def test_commits_with_equal_code_are_one_version(history: History, tmp_path: Path) -> None:
    found = asked(history, whole(history, "second", tmp_path / "policy.pt"))
    versions = found.ranking.ranges[0].versions
    assert [history.named(v.commits) for v in versions] == [{"faster"}, {"second", "docs2"}]


def test_the_date_decides_among_equals(history: History, tmp_path: Path) -> None:
    path = whole(history, "second", tmp_path / "policy.pt")
    when = time.mktime((2025, 3, 6, 20, 0, 0, 0, 0, 0))
    os.utime(path, (when, when))
    found = asked(history, path)
    assert found.chosen.oid == history.commits["docs2"]
    assert f"--commit {history.commits['docs2']}" in found.line


def test_since_and_until(history: History, tmp_path: Path) -> None:
    path = whole(history, "second", tmp_path / "policy.pt")
    output = (
        CliRunner()
        .invoke(
            main,
            [
                "identify",
                str(path),
                "--repo",
                str(history.project.top),
                "--until",
                "2025-03-06",
                "--json",
            ],
        )
        .output
    )
    assert json.loads(output)["commits"] == 6, "the day itself counts"
    nothing = ["identify", str(path), "--repo", str(history.project.top), "--since", "2026-01-01"]
    assert CliRunner().invoke(main, nothing).exit_code == 1
    wrong = CliRunner().invoke(main, [*nothing[:-1], "yesterday"])
    assert wrong.exit_code == 2


def test_commits_of_side_branches_count(history: History, tmp_path: Path) -> None:
    history.project.git("checkout", "--quiet", "-b", "side", history.commits["second"])
    history.step("side", {"gait/net.py": SECOND.replace("self.actor", "self.policy")})
    path = whole(history, "side", tmp_path / "policy.pt")
    history.project.git("checkout", "--quiet", "main")
    assert best(history, path) == {"side"}


def test_a_name_that_a_package_only_imports(history: History, tmp_path: Path) -> None:
    splint, policy = history.policy("exported")
    data = splint.pickle.dumps(policy, 2).replace(b"cgait.policies.net\n", b"cgait\n")
    (tmp_path / "policy.pkl").write_bytes(data)
    assert best(history, tmp_path / "policy.pkl") == {"exported"}


def test_build_tells_apart_what_sources_do_not(history: History, tmp_path: Path) -> None:
    wide = NORMED.replace("8", "16")
    history.step("wide", {"gait/policies/net.py": wide})
    splint = codevault.load_code(history.project.top, history.commits["wide"], roots=["."])
    policy = splint.load_symbol("gait.policies.net:Net")()
    torch.save(policy.state_dict(), tmp_path / "weights.pt")
    line = ["identify", str(tmp_path / "weights.pt"), "--repo", str(history.project.top)]
    line += ["--class", "gait.policies.net:Net"]
    plain = json.loads(CliRunner().invoke(main, [*line, "--json"]).stdout)
    assert len(plain["ranges"][0]["versions"]) > 1
    result = CliRunner().invoke(main, [*line, "--build", "--json"])
    data = json.loads(result.stdout)
    verdicts = {v["commits"][-1]: v["built"] for v in data["ranges"][0]["versions"]}
    assert verdicts.pop(history.commits["wide"]) == ""
    assert all("other shapes of actor.weight" in text for text in verdicts.values())
    assert data["commit"] == history.commits["wide"]
    again = CliRunner().invoke(main, [*line, "--build"])
    assert "takes the weights" in again.stdout


def test_a_policy_that_cannot_be_built_is_said(history: History, tmp_path: Path) -> None:
    _, policy = history.policy("first")
    torch.save(policy.state_dict(), tmp_path / "weights.pt")
    line = ["identify", str(tmp_path / "weights.pt"), "--repo", str(history.project.top)]
    line += ["--class", "gait.net:Net", "--build", "--arg", "width=3"]
    output = CliRunner().invoke(main, line).stdout
    assert "cannot be built" in output
    assert "width" in output.split("cannot be built", 1)[1].splitlines()[0]
    assert "--arg width=3" in output


def test_the_line_that_is_printed_works(history: History, tmp_path: Path) -> None:
    import shlex

    found = asked(history, whole(history, "second", tmp_path / "policy.pt"))
    words = [w.replace("OBS", "float32[1,4]") for w in shlex.split(found.line)[1:]]
    words[words.index("new.mpt")] = str(tmp_path / "new.mpt")
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert codevault.read_manifest(tmp_path / "new.mpt").commit == history.commits["faster"]


def test_text_and_json(history: History, tmp_path: Path) -> None:
    path = whole(history, "second", tmp_path / "policy.pt")
    line = ["identify", str(path), "--repo", str(history.project.top)]
    result = CliRunner().invoke(main, line, catch_exceptions=False)
    assert result.exit_code == 0
    assert "1. " in result.output
    assert "lacks: gait.net.Net gives its instances actor" in result.output
    data = json.loads(CliRunner().invoke(main, [*line, "--json"]).output)
    assert data.keys() == {
        "form", "written", "modified", "names", "keys", "facts", "unexplained", "ranges",
        "commit", "convert", "commits", "files", "seconds",
    }  # fmt: skip
    assert data["ranges"][0].keys() == {"held", "lacks", "against", "commits", "versions"}
    assert data["keys"]["actor.weight"] == [2, 8]


def test_a_range_with_misses_is_a_finding(history: History, tmp_path: Path) -> None:
    _, policy = history.policy("first")
    both = {**policy.state_dict(), "encoder.weight": torch.ones(1)}
    torch.save(both, tmp_path / "mixed.pt")
    line = ["identify", str(tmp_path / "mixed.pt"), "--repo", str(history.project.top)]
    assert CliRunner().invoke(main, line).exit_code == 1


def test_another_repository_is_said(history: History, tmp_path: Path) -> None:
    path = whole(history, "second", tmp_path / "policy.pt")
    other = type(history.project)(tmp_path / "other")
    other.commit({"a.py": "x = 1\n"})
    with pytest.raises(CodeError, match="no commit of"):
        identify(Question(str(path), str(other.top)))
    with pytest.raises(FetchError):
        identify(Question(str(path), str(tmp_path / "nowhere")))


def test_a_file_that_tells_nothing(history: History, tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(CodevaultError, match="tells nothing"):
        asked(history, tmp_path / "weights.pt")


def test_nothing_of_the_file_runs(history: History, tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'mark'}",)

    splint, policy = history.policy("second")
    held = [policy, Runs()]
    (tmp_path / "policy.pkl").write_bytes(splint.pickle.dumps(held))
    assert best(history, tmp_path / "policy.pkl") == WHOLE["second"]
    assert not (tmp_path / "mark").exists()


def test_unreadable_sources_do_not_stop_it(history: History, tmp_path: Path) -> None:
    history.step("broken", {"gait/broken.py": "def (:\n", "gait/latin.py": b"\xff\xfe\x00"})
    _, policy = history.policy("first")
    torch.save({"model_state_dict": policy.state_dict(), "iter": 3}, tmp_path / "m.pt")
    assert best(history, tmp_path / "m.pt") == WEIGHTS["docs"]
