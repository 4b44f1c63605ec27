"""Published releases, one against the other: what did change is told, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

from tests.road.releases import commit_tree, git, run_python, wheel

if TYPE_CHECKING:
    from pathlib import Path

PLAYER = """
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy

def make(hidden):
    box = spaces.Box(-1.0, 1.0, (8,), np.float32)
    return ActorCriticPolicy(box, box, lambda _: 1e-3, net_arch=[hidden, hidden])
"""
CRITICS = """
import sys

import gymnasium
import numpy as np
from gymnasium import spaces

for name in [name for name in sys.modules if name.partition(".")[0] == "gymnasium"]:
    sys.modules.setdefault(name.replace("gymnasium", "gym", 1), sys.modules[name])

from stable_baselines3.td3.policies import TD3Policy

class Player(TD3Policy):
    def __init__(self):
        box = spaces.Box(-1.0, 1.0, (8,), np.float32)
        super().__init__(box, box, lambda _: 1e-3)

    def forward(self, obs):
        return self.actor(obs), *self.critic(obs, self.actor(obs))
"""
SAVE_CRITICS = """
import sys, torch, codevault
repo, commit, path = sys.argv[1:]
player = codevault.load_code(repo, commit).load_symbol("player:Player")
codevault.save_policy(path, player(), architecture={"class_path": player}, probe=torch.ones(2, 8))
"""
SAVE_SB3 = """
import sys, torch, codevault
repo, commit, path = sys.argv[1:]
make = codevault.load_code(repo, commit).load_symbol("player:make")
given = {"class_path": make, "kwargs": {"hidden": 16}}
codevault.save_policy(path, make(16), architecture=given, probe=(torch.ones(2, 8), True))
"""
SAVE_RSL = """
import sys, codevault
repo, commit, path = sys.argv[1:]
policy = codevault.load_code(repo, commit).load_symbol("rsl_rl.modules:ActorCritic")
sizes = {"num_actor_obs": 8, "num_critic_obs": 8, "num_actions": 4, "actor_hidden_dims": [16, 16]}
given = {"class_path": policy, "kwargs": sizes}
codevault.save_policy(path, policy(**sizes), architecture=given)
"""


def released(folder: Path, package: str, versions: tuple[str, ...], extra: str = "") -> list[str]:
    """Releases as commits of one repository, the oldest first."""
    repo = folder / "repo"
    git(folder, "init", "--quiet", "--initial-branch=main", str(repo))
    commits = []
    for version in versions:
        tree = folder / "trees" / version
        with zipfile.ZipFile(wheel(version, package)) as archive:
            archive.extractall(tree)
        if extra:
            (tree / "player.py").write_text(extra)
        commits.append(commit_tree(repo, tree, f"release {version}"))
    return commits


def diagnosed(folder: Path, save: str, old: str, new: str) -> dict[str, Any]:
    """What the command says of a policy of one commit against another one."""
    (folder / "save.py").write_text(save)
    run_python(folder / "save.py", folder / "repo", old, folder / "old.mpt")
    command = [sys.executable, "-m", "codevault", "diagnose", str(folder / "old.mpt"), "--json"]
    command += ["--against", f"{folder / 'repo'}@{new}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (not found["ok"])
    return found


def test_stable_baselines3_kept_what_its_policies_are(tmp_path: Path) -> None:
    commits = released(tmp_path, "stable_baselines3", ("2.0.0", "2.9.2"), PLAYER)
    found = diagnosed(tmp_path, SAVE_SB3, *commits)
    assert found["causes"] == []
    assert found["checked"]["probe"] == "equal: 3 recorded outputs reproduced"


def test_critics_that_were_renumbered_are_matched_and_the_probe_agrees(tmp_path: Path) -> None:
    """Matched by name they would be swapped: `q1_net` looks like `qf1`, and is `qf0`."""
    commits = released(tmp_path, "stable_baselines3", ("0.6.0", "2.7.0"), CRITICS)
    found = diagnosed(tmp_path, SAVE_CRITICS, *commits)
    renamed = {cause["name"]: cause["new"] for cause in found["causes"]}
    assert all(cause["kind"] == "renamed" for cause in found["causes"])
    assert {name: new[0].rpartition(".0.")[0] for name, new in renamed.items()} == {
        "critic.q1_net.*": "critic.qf0",
        "critic.q2_net.*": "critic.qf1",
        "critic_target.q1_net.*": "critic_target.qf0",
        "critic_target.q2_net.*": "critic_target.qf1",
    }
    assert found["checked"]["probe"].startswith("equal: 3 recorded outputs reproduced")
    subjects = {cause["introduced"]["subject"] for cause in found["causes"]}
    assert subjects == {"release 2.7.0"}


def test_rsl_rl_3_wants_other_arguments(tmp_path: Path) -> None:
    commits = released(tmp_path, "rsl_rl_lib", ("2.2.4", "2.3.3", "3.1.2"))
    found = diagnosed(tmp_path, SAVE_RSL, commits[0], commits[2])
    required = [cause for cause in found["causes"] if cause["kind"] == "required"]
    assert [cause["name"] for cause in required] == ["obs", "obs_groups"]
    assert {cause["introduced"]["subject"] for cause in required} == {"release 3.1.2"}
    assert found["checked"]["keys"] == "not compared: the new code builds no policy"
    assert found["works"] is not None
