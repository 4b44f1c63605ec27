"""The bridge over five changes of an interface: today's environment for any policy, and back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from codevault.contract import Contract
from tests.codevault.interface.history import VERSIONS

if TYPE_CHECKING:
    import torch

Plain = dict[str, Any]

# -- the environment, from newer to older ----------------------------------------------------------


def describe(env: Any) -> Plain:
    """Today's PolicyEnvInterface as plain data."""
    found: Plain = env.model_dump()
    return found


def interface_to_rules(new: Plain) -> Plain:
    width, height = new["obs_shape"]
    features = {
        f["name"]: {"id": f["id"], "normalization": f["normalization"]} for f in new["obs_features"]
    }
    return {
        "obs_width": width,
        "obs_height": height,
        "obs_features": features,
        "action_names": list(new["actions"]),
    }


def rules_to_metadata(new: Plain) -> Plain:
    return new  # a pure rename of the class


def metadata_to_duck(new: Plain) -> Plain:
    return {**new, "single_size": new["obs_width"] * new["obs_height"]}


def duck_to_five(new: Plain) -> Plain:
    return {
        "obs_size": new["single_size"],
        "actions": len(new["action_names"]),
        "arguments": 3,
        "feature_normalizations": {
            row["id"]: row["normalization"] for row in new["obs_features"].values()
        },
    }


def five_to_eight(new: Plain) -> Plain:
    return {
        "obs_size": new["obs_size"],
        "action_space": (new["actions"], new["arguments"]),
        "grid_features": list(new["feature_normalizations"]),
    }


# -- policies, from older to newer -----------------------------------------------------------------


class EightAsFive:
    """Five of eight values."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    def __call__(self, obs: Any, state: Any = None, action: Any = None) -> tuple[Any, ...]:
        found: tuple[Any, ...] = self.policy(obs, state, action)
        return found[:5]


class FiveAsDuck:
    """A TensorDict instead of values; it carries the state that callers carried."""

    def __init__(self, policy: Any) -> None:
        self.policy, self.state = policy, None

    def initialize_to_environment(
        self,
        features: Plain,
        action_names: Any,
        action_max_params: Any,
        device: Any,
        is_training: bool | None = None,
    ) -> None:
        """These policies knew their environment when they were made."""

    def reset_memory(self) -> None:
        self.state = None

    def __call__(self, td: Any, action: Any = None) -> Any:
        actions, _, _, value, self.state = self.policy(td["env_obs"], self.state)
        td["actions"], td["values"] = actions, value[:, 0]
        return td


class DuckAsMetadata:
    """One description instead of four arguments."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    def initialize_to_environment(
        self, env: Any, device: Any, *, is_training: bool | None = None
    ) -> None:
        names = list(env.action_names)
        self.policy.initialize_to_environment(
            env.obs_features, names, [2] * len(names), device, is_training
        )

    def reset_memory(self) -> None:
        self.policy.reset_memory()

    def __call__(self, td: Any, action: Any = None) -> Any:
        return self.policy(td, action)


def metadata_as_rules(policy: Any) -> Any:
    return policy


class RulesAsInterface:
    """One number for each action instead of two; today's description instead of yesterday's."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    def initialize_to_environment(
        self, env: Any, device: Any, *, is_training: bool | None = None
    ) -> None:
        older = SimpleNamespace(**interface_to_rules(describe(env)))
        self.policy.initialize_to_environment(older, device, is_training=is_training)

    def reset_memory(self) -> None:
        self.policy.reset_memory()

    def __call__(self, td: Any, action: Any = None) -> Any:
        td = self.policy(td, action)
        both: torch.Tensor = td["actions"]
        td["actions"] = both[:, 0] * 3 + both[:, 1]
        return td


# -- together --------------------------------------------------------------------------------------


def unstated(code: Any) -> str | None:
    """The version of code that states none, by what its modules define."""
    module = code.import_module("agent.env")
    known = {
        "PolicyEnvInterface": "interface",
        "GameRules": "rules",
        "EnvironmentMetaData": "metadata",
    }
    for name, version in known.items():
        if hasattr(module, name):
            return version
    agent = code.load_symbol("agent.policy:Agent")
    if hasattr(agent, "initialize_to_environment"):
        return "duck"
    return "eight" if "eight" in (agent.__doc__ or "") else "five"


CONTRACT = Contract(
    versions=VERSIONS,
    describe=describe,
    inputs={
        ("interface", "rules"): interface_to_rules,
        ("rules", "metadata"): rules_to_metadata,
        ("metadata", "duck"): metadata_to_duck,
        ("duck", "five"): duck_to_five,
        ("five", "eight"): five_to_eight,
    },
    builders={
        "duck": lambda data, code: SimpleNamespace(**data),
        "metadata": lambda data, code: code.load_symbol("agent.env:EnvironmentMetaData")(**data),
        "rules": lambda data, code: code.load_symbol("agent.env:GameRules")(**data),
        "interface": lambda data, code: code.load_symbol("agent.env:PolicyEnvInterface")(**data),
    },
    wrappers={
        ("eight", "five"): EightAsFive,
        ("five", "duck"): FiveAsDuck,
        ("duck", "metadata"): DuckAsMetadata,
        ("metadata", "rules"): metadata_as_rules,
        ("rules", "interface"): RulesAsInterface,
    },
    unstated=unstated,
)
