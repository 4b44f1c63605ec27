"""A few policies of Stable-Baselines3, built alike from any release, and what they give.

    python policy_cases.py TREE OUT        the release in TREE alone, in a process of its own

The tests hand in the classes of an isolated release instead, and compare.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

CASES = ("continuous", "discrete", "state-dependent-noise", "image")
BATCH = 5


def make(release: Any, case: str) -> Any:
    """The policy of a case, from `stable_baselines3.common.policies` of some release."""
    torch.manual_seed(20240)
    box = spaces.Box(-1.0, 1.0, (6,), np.float32, seed=1)
    wide = spaces.Box(-2.0, 2.0, (3,), np.float32, seed=2)
    image = spaces.Box(0, 255, (3, 36, 36), np.uint8, seed=3)
    arguments: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        "continuous": (box, wide, {"net_arch": [16, 16]}),
        "discrete": (box, spaces.Discrete(4), {"net_arch": {"pi": [16], "vf": [8, 8]}}),
        "state-dependent-noise": (box, wide, {"net_arch": [16], "use_sde": True}),
        "image": (image, spaces.Discrete(4), {}),
    }
    observed, acted, options = arguments[case]
    cls = release.ActorCriticCnnPolicy if case == "image" else release.ActorCriticPolicy
    return cls(observed, acted, lambda _: 1e-3, **options)


def outputs(policy: Any) -> dict[str, torch.Tensor]:
    """What a policy gives for fixed observations and a fixed seed, by name."""
    policy.eval()
    space = policy.observation_space
    drawn = np.random.default_rng(7).uniform(space.low, space.high, (BATCH, *space.shape))
    observations = torch.as_tensor(drawn.astype(space.dtype))
    torch.manual_seed(11)
    found: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        if policy.use_sde:
            policy.reset_noise(BATCH)
        for name, deterministic in (("sampled", False), ("deterministic", True)):
            given = policy(observations, deterministic=deterministic)
            for part, tensor in zip(("actions", "values", "log_prob"), given, strict=True):
                found[f"{name}.{part}"] = tensor
        judged = policy.evaluate_actions(observations, found["sampled.actions"])
        for part, tensor in zip(("values", "log_prob", "entropy"), judged, strict=True):
            found[f"evaluated.{part}"] = tensor
        found["predicted"] = torch.as_tensor(policy.predict(drawn.astype(space.dtype))[0])
    return {name: tensor.contiguous().clone() for name, tensor in found.items()}


def figures(release: Any) -> dict[str, torch.Tensor]:
    """Weights as made and outputs of all cases, as flat names."""
    found: dict[str, torch.Tensor] = {}
    for case in CASES:
        policy = make(release, case)
        weights = policy.state_dict()
        found |= {f"{case}/weights/{key}": weights[key].clone() for key in weights}
        found |= {f"{case}/outputs/{key}": value for key, value in outputs(policy).items()}
    return found


def main(tree: str, out: str) -> None:
    from safetensors.torch import save_file

    sys.path.insert(0, tree)
    package = importlib.import_module("stable_baselines3")
    assert package.__file__ is not None
    assert package.__file__.startswith(tree), package.__file__
    save_file(
        figures(importlib.import_module("stable_baselines3.common.policies")),
        out,
        metadata={"version": package.__version__},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
