"""A user's project from training to a refactored tree: the checkpoint keeps its own code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import stable_baselines3.common.policies
import torch
from safetensors import safe_open

import codevault
from tests.road.releases import commit_tree, git, own_folders, run_python

if TYPE_CHECKING:
    from pathlib import Path

    from tests.road.releases import Releases

PYPROJECT = '[tool.codevault]\nroots = ["src", "vendor"]\n'

FACTORY = """
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy

def make_policy(observations, actions, layers):
    box = spaces.Box(-1.0, 1.0, (observations,))
    return ActorCriticPolicy(box, spaces.Discrete(actions), lambda _: 1e-3, net_arch=layers)
"""

TRAIN = """
import sys
import torch
import codevault

project, checkpoint = sys.argv[1:]
sys.path[:0] = [f"{project}/src", f"{project}/vendor"]
from robot.factory import make_policy

kwargs = {"observations": 6, "actions": 4, "layers": {"pi": [16], "vf": [8, 8]}}
torch.manual_seed(3)
policy = make_policy(**kwargs)
observations = torch.randn(32, 6)
for _ in range(5):
    values, log_prob, entropy = policy.evaluate_actions(observations, torch.ones(32))
    policy.optimizer.zero_grad()
    (values.square().mean() - log_prob.mean()).backward()
    policy.optimizer.step()
codevault.save_policy(
    checkpoint,
    policy,
    architecture={"class_path": make_policy, "kwargs": kwargs},
    probe=(observations[:4], True),
    metadata={"steps": 5},
)

from safetensors.torch import save_file

with torch.no_grad():
    actions, values, log_prob = policy(observations, deterministic=True)
save_file(
    {"observations": observations, "actions": actions, "values": values, "log_prob": log_prob},
    f"{checkpoint}.expected",
    metadata={"version": __import__("stable_baselines3").__version__},
)
"""


@pytest.fixture(scope="module")
def project(releases: Releases, scratch: Path) -> tuple[Path, str, Path]:
    """A repository, the commit that trained, and the checkpoint; the code has moved on since."""
    top = scratch / "project"
    top.mkdir()
    repo, checkpoint = top / "robot", top / "best.mpt"
    git(top, "init", "--quiet", "--initial-branch=main", str(repo))
    tree = top / "tree"
    (tree / "src/robot").mkdir(parents=True)
    (tree / "src/robot/factory.py").write_text(FACTORY)
    (tree / "pyproject.toml").write_text(PYPROJECT)
    (tree / "vendor").mkdir()
    package = "stable_baselines3"
    (tree / "vendor" / package).symlink_to(releases.all[0].tree / package)
    trained = commit_tree(repo, tree, "vendor 2.0.0")
    program = top / "train.py"
    program.write_text(TRAIN)
    with own_folders(scratch):
        run_python(program, repo, checkpoint)

    refactored = top / "refactored"
    (refactored / "src/machine").mkdir(parents=True)
    (refactored / "src/machine/build.py").write_text("raise NotImplementedError\n")
    commit_tree(repo, refactored, "other names, the installed stable_baselines3")
    return repo, trained, checkpoint


def outputs(policy: Any, checkpoint: Path) -> list[str]:
    """The names of outputs that differ from those of the training process."""
    with safe_open(f"{checkpoint}.expected", "pt") as file, torch.no_grad():
        # A copy: a tensor from a file may lie where kernels take another order of summation.
        observations = file.get_tensor("observations").clone()
        given = policy(observations, deterministic=True)
        names = ("actions", "values", "log_prob")
        pairs = zip(names, given, strict=True)
        return [name for name, value in pairs if not torch.equal(value, file.get_tensor(name))]


def test_load_after_a_refactoring(project: tuple[Path, str, Path]) -> None:
    repo, trained, checkpoint = project
    assert not list((repo / "src/robot").rglob("*.py"))
    host = {n: m for n, m in sys.modules.items() if n.partition(".")[0] == "stable_baselines3"}

    policy = codevault.load_policy(checkpoint)

    assert outputs(policy, checkpoint) == []
    assert type(policy).__name__ == "ActorCriticPolicy"
    assert not isinstance(policy, stable_baselines3.common.policies.ActorCriticPolicy)
    provenance = codevault.provenance(policy)
    assert provenance.manifest.commit == trained
    assert provenance.manifest.roots == ("src", "vendor")
    own = {"robot.factory", "stable_baselines3.common.policies"}
    assert own <= set(provenance.manifest.modules)
    assert provenance.probe is not None
    assert provenance.probe.compared == 3
    assert provenance.splint is not None
    versions = [provenance.splint.import_module("stable_baselines3").__version__]
    versions.append(stable_baselines3.__version__)
    assert versions[0] == "2.0.0" != versions[1]
    assert host == {
        n: m for n, m in sys.modules.items() if n.partition(".")[0] == "stable_baselines3"
    }


def test_training_goes_on(project: tuple[Path, str, Path]) -> None:
    checkpoint = project[2]
    policy = codevault.load_policy(checkpoint)
    observations = torch.randn(8, 6)
    values, log_prob, _ = policy.evaluate_actions(observations, torch.ones(8))
    (values.square().mean() - log_prob.mean()).backward()
    policy.optimizer.step()
    assert outputs(policy, checkpoint) != []
    assert outputs(codevault.load_policy(checkpoint), checkpoint) == []


def test_saved_again_it_keeps_its_code(project: tuple[Path, str, Path], tmp_path: Path) -> None:
    _, trained, checkpoint = project
    policy = codevault.load_policy(checkpoint)
    manifest = codevault.save_policy(tmp_path / "again.mpt", policy, probe=torch.zeros(2, 6))
    assert manifest.commit == trained
    assert manifest.digest == codevault.read_manifest(checkpoint).digest
    again = codevault.load_policy(tmp_path / "again.mpt")
    assert outputs(again, checkpoint) == []
    assert type(again) is type(policy)


def test_prefetch_then_no_repository(project: tuple[Path, str, Path], tmp_path: Path) -> None:
    repo, _, checkpoint = project
    cache = tmp_path / "cache"
    report = codevault.prefetch([checkpoint], cache=cache)
    assert [item.status for item in report.items] == ["fetched"]
    gone = repo.with_name("gone")
    repo.rename(gone)
    try:
        assert codevault.prefetch([checkpoint], cache=cache).items[0].status == "hit"
        policy = codevault.load_policy(checkpoint, cache=cache)
    finally:
        gone.rename(repo)
    assert outputs(policy, checkpoint) == []
