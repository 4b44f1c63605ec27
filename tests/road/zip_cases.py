"""Stable-Baselines3 zips, written by a release, and what its policies give.

python zip_cases.py TREE OUT        the release in TREE alone, in a process of its own
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

CASES = ("ppo", "noise", "a2c-image", "sac", "td3", "dqn", "dict")


class World(gymnasium.Env[Any, Any]):
    """An environment with these spaces, in which nothing happens."""

    def __init__(self, observed: Any, acted: Any) -> None:
        self.observation_space, self.action_space = observed, acted

    def reset(self, **_: Any) -> Any:
        return self.observation_space.sample(), {}

    def step(self, _: Any) -> Any:
        return self.observation_space.sample(), 0.0, False, False, {}


def make(release: Any, case: str) -> Any:
    """The algorithm of a case, with its policy."""
    box = spaces.Box(-np.inf, np.inf, (6,), np.float32)
    wide = spaces.Box(np.array([-2.0, -1.0], np.float32), np.array([1.0, 3.0], np.float32))
    image = spaces.Box(0, 255, (3, 36, 36), np.uint8)
    parts = spaces.Dict({"a": box, "b": spaces.Discrete(5)})
    few = spaces.Discrete(4)
    net = {"policy_kwargs": {"net_arch": [8], "activation_fn": torch.nn.ELU}}
    steps = {"n_steps": 8, "batch_size": 8}
    table: dict[str, tuple[str, str, Any, Any, dict[str, Any]]] = {
        "ppo": ("PPO", "MlpPolicy", box, few, steps | net),
        "noise": ("PPO", "MlpPolicy", box, wide, steps | {"use_sde": True} | net),
        "a2c-image": ("A2C", "CnnPolicy", image, few, {}),
        "sac": ("SAC", "MlpPolicy", box, wide, net | {"buffer_size": 10}),
        "td3": ("TD3", "MlpPolicy", box, wide, net | {"buffer_size": 10}),
        "dqn": ("DQN", "MlpPolicy", box, few, net | {"buffer_size": 10}),
        "dict": ("PPO", "MultiInputPolicy", parts, few, steps | net),
    }
    kind, policy, observed, acted, options = table[case]
    torch.manual_seed(3)
    return getattr(release, kind)(policy, World(observed, acted), device="cpu", **options)


def given(policy: Any) -> torch.Tensor:
    """What a policy does, without chance, on fixed observations."""
    policy.eval()
    space = policy.observation_space
    space.seed(7)
    observed = [space.sample() for _ in range(3)]
    return torch.as_tensor(
        np.stack([policy.predict(one, deterministic=True)[0] for one in observed])
    )


def main(tree: str, out: str) -> None:
    from safetensors.torch import save_file

    sys.path.insert(0, tree)
    package = importlib.import_module("stable_baselines3")
    assert (package.__file__ or "").startswith(tree), package.__file__
    found = {}
    for case in CASES:
        algorithm = make(package, case)
        algorithm.save(f"{out}/{case}.zip")
        found[case] = given(algorithm.policy)
    save_file(found, f"{out}/given.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
