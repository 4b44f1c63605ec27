"""Policies of published packages for `benchmarks.probe_alarms`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmarks.probe_cases import ALWAYS, Case, change, swap

if TYPE_CHECKING:
    from collections.abc import Callable


def _sb3() -> list[Case]:
    """Stable-Baselines3: an actor-critic on vectors and on pictures, and twin critics."""
    import gymnasium
    import numpy
    from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy

    flat = gymnasium.spaces.Box(-1, 1, (17,), numpy.float32)
    picture = gymnasium.spaces.Box(0, 255, (4, 84, 84), numpy.uint8)
    actions: Any = gymnasium.spaces.Discrete(6)
    arms: Any = gymnasium.spaces.Box(-1, 1, (6,), numpy.float32)

    class Greedy(nn.Module):
        """The distribution's parameters and the value, as `predict` uses them."""

        def __init__(self, policy: Any) -> None:
            super().__init__()
            self.policy = policy

        def forward(self, obs: torch.Tensor) -> Any:
            distribution = self.policy.get_distribution(obs)
            sampled, values, _ = self.policy(obs)
            return distribution.distribution, distribution.mode(), sampled, values

    def box() -> nn.Module:
        return Greedy(ActorCriticPolicy(flat, arms, lambda _: 3e-4))

    def pixels() -> nn.Module:
        return Greedy(ActorCriticCnnPolicy(picture, actions, lambda _: 3e-4))

    def seen(batch: int, generator: torch.Generator) -> torch.Tensor:
        shape = (batch, 4, 84, 84)
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)

    extractor = "policy.mlp_extractor"
    return [
        Case(
            "Stable-Baselines3 MlpPolicy",
            box,
            lambda n, g: torch.randn(n, 17, generator=g),
            ALWAYS
            | {
                "swapped heads": swap(f"{extractor}.policy_net", f"{extractor}.value_net"),
                "changed default": change("policy.log_std", lambda old: old - 0.05),
            },
            dtypes=("float32",),
        ),
        Case(
            "Stable-Baselines3 CnnPolicy",
            pixels,
            seen,
            ALWAYS | {"wrong normaliser": change("policy.normalize_images", False)},
            dtypes=("float32",),
        ),
    ]


def _transformers() -> list[Case]:
    """transformers: a small GPT-2 on embedded observations, as decision transformers use it."""
    transformers: Any = importlib.import_module("transformers")

    class Decision(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = {"n_positions": 32, "n_embd": 64, "n_layer": 2, "n_head": 4}
            config = transformers.GPT2Config(vocab_size=1, bos_token_id=0, eos_token_id=0, **sizes)
            self.embed, self.body, self.head = (
                nn.Linear(12, 64),
                transformers.GPT2Model(config),
                nn.Linear(64, 6),
            )

        def forward(self, obs: torch.Tensor) -> Any:
            hidden = self.body(inputs_embeds=self.embed(obs)).last_hidden_state
            logits = self.head(hidden[:, -1])
            return logits, logits.argmax(-1)

    return [
        Case(
            "transformers GPT-2, 2 layers",
            Decision,
            lambda n, g: torch.randn(n, 16, 12, generator=g),
            ALWAYS
            | {
                "swapped heads": swap("body.h.0.attn", "body.h.1.attn"),
                "changed default": change("body.h.0.mlp.act", lambda _: nn.GELU()),
                "dropped buffer": change("body.wpe.weight", torch.zeros_like),
            },
            dtypes=("float32",),
        )
    ]


def _tensordict() -> list[Case]:
    """tensordict: a probabilistic actor that samples."""
    from tensordict import TensorDict
    from tensordict.nn import (
        InteractionType,
        ProbabilisticTensorDictModule,
        ProbabilisticTensorDictSequential,
        TensorDictModule,
    )

    def actor() -> Any:
        body = nn.Sequential(nn.Linear(12, 64), nn.Tanh(), nn.Linear(64, 8))
        return ProbabilisticTensorDictSequential(
            TensorDictModule(body, ["obs"], ["logits"]),
            ProbabilisticTensorDictModule(
                ["logits"],
                ["action"],
                distribution_class=torch.distributions.Categorical,
                default_interaction_type=InteractionType.RANDOM,
            ),
        )

    return [
        Case(
            "tensordict actor, sampled",
            actor,
            lambda n, g: TensorDict({"obs": torch.randn(n, 12, generator=g)}, batch_size=[n]),
            ALWAYS | {"changed default": change("module.0.module.1", lambda _: nn.Hardtanh())},
            dtypes=("float32",),
        )
    ]


CASES: list[tuple[str, Callable[[], list[Case]]]] = [
    ("stable_baselines3", _sb3),
    ("transformers", _transformers),
    ("tensordict", _tensordict),
]
