"""A repository whose interface changed five times: what each version of its agent looked like.

The environment's description was renamed and reshaped (a duck-typed object, `EnvironmentMetaData`,
`GameRules`, `PolicyEnvInterface`), the outputs went from eight values to five to a TensorDict, and
actions from two numbers each to one. Each version computes the same numbers from its own weights.
"""

from __future__ import annotations

import textwrap
from typing import Final

VERSIONS: Final = ("eight", "five", "duck", "metadata", "rules", "interface")

_NET: Final = """
import torch


class Body(torch.nn.Module):
    def __init__(self, size, actions, arguments):
        super().__init__()
        self.core = torch.nn.Linear(size, 8)
        self.kinds = torch.nn.Linear(8, actions)
        self.arguments = torch.nn.Linear(8, arguments)
        self.value = torch.nn.Linear(8, 1)
        self.memory = None

    def features(self, obs):
        hidden = torch.tanh(self.core(obs.flatten(1).float()))
        return hidden if self.memory is None else hidden + self.memory
"""

_EIGHT: Final = """
import torch
from agent.net import Body


class Agent(Body):
    '''Spaces in, eight values out; the caller carries the state.'''

    def __init__(self, env):
        super().__init__(env["obs_size"], env["action_space"][0], env["action_space"][1])
        self.feature_ids = env["grid_features"]

    def forward(self, obs, state=None, action=None):
        hidden = self.features(obs) if state is None else self.features(obs) + state
        kinds, arguments = self.kinds(hidden), self.arguments(hidden)
        action = torch.stack([kinds.argmax(-1), arguments.argmax(-1)], -1)
        zero = torch.zeros(len(obs))
        return action, zero, zero, self.value(hidden), hidden, zero, kinds, arguments
"""

_FIVE: Final = """
import torch
from agent.net import Body


class Agent(Body):
    '''One description in, five values out; the caller carries the state.'''

    def __init__(self, env):
        super().__init__(env["obs_size"], env["actions"], env["arguments"])
        self.feature_ids = list(env["feature_normalizations"])

    def forward(self, obs, state=None, action=None):
        hidden = self.features(obs) if state is None else self.features(obs) + state
        kinds, arguments = self.kinds(hidden), self.arguments(hidden)
        action = torch.stack([kinds.argmax(-1), arguments.argmax(-1)], -1)
        zero = torch.zeros(len(obs))
        return action, zero, zero, self.value(hidden), hidden
"""

_TENSORDICT: Final = """
import torch
from agent.net import Body
{imports}


class Agent(Body):
    '''A TensorDict in and out; the policy keeps its memory itself.'''

    def __init__(self, env):
        {check}
        super().__init__(env.{size}, len({actions}), 3)
        self.feature_ids = None

    def initialize_to_environment({initialize}):
        self.feature_ids = {feature_ids}

    def reset_memory(self):
        self.memory = None

    def forward(self, td, action=None):
        hidden = self.features(td["env_obs"])
        self.memory = hidden.detach()
        kinds = self.kinds(hidden)
        {choose}
        td["values"] = self.value(hidden)[:, 0]
        return td
"""
_TWO: Final = (
    'td["actions"] = torch.stack([kinds.argmax(-1), self.arguments(hidden).argmax(-1)], -1)'
)
_ONE: Final = 'td["actions"] = kinds.argmax(-1) * 3 + self.arguments(hidden).argmax(-1)'

_DATACLASS: Final = """
from dataclasses import dataclass


@dataclass
class {name}:
    obs_width: int
    obs_height: int
    obs_features: dict
    action_names: list

    @property
    def size(self):
        return self.obs_width * self.obs_height
"""
_INTERFACE: Final = """
from pydantic import BaseModel


class Feature(BaseModel):
    id: int
    name: str
    normalization: float


class PolicyEnvInterface(BaseModel):
    obs_shape: tuple[int, int]
    obs_features: list[Feature]
    actions: list[str]

    @property
    def size(self):
        return self.obs_shape[0] * self.obs_shape[1]
"""
_OLD_FORM: Final = "self, features, action_names, action_max_params, device, is_training=None"


def _agent(
    imports: str, check: str, size: str, actions: str, initialize: str, ids: str, choose: str
) -> str:
    return _TENSORDICT.format(
        imports=imports,
        check=check,
        size=size,
        actions=actions,
        initialize=initialize,
        feature_ids=ids,
        choose=choose,
    )


def _with_class(name: str) -> dict[str, str]:
    return {
        "agent/env.py": _DATACLASS.format(name=name),
        "agent/policy.py": _agent(
            f"from agent.env import {name}",
            f"assert type(env) is {name}, type(env)",
            "size",
            "env.action_names",
            f"self, env: {name}, device, *, is_training=None",
            "[f['id'] for f in env.obs_features.values()]",
            _TWO,
        ),
    }


_FILES: Final = {
    "eight": {"agent/policy.py": _EIGHT},
    "five": {"agent/policy.py": _FIVE},
    "duck": {
        "agent/policy.py": _agent(
            "",
            "",
            "single_size",
            "env.action_names",
            _OLD_FORM,
            "[f['id'] for f in features.values()]",
            _TWO,
        )
    },
    "metadata": _with_class("EnvironmentMetaData"),
    "rules": _with_class("GameRules"),
    "interface": {
        "agent/env.py": _INTERFACE,
        "agent/policy.py": _agent(
            "from agent.env import PolicyEnvInterface",
            "assert type(env) is PolicyEnvInterface, type(env)",
            "size",
            "env.actions",
            "self, env: PolicyEnvInterface, device, *, is_training=None",
            "[f.id for f in env.obs_features]",
            _ONE,
        ),
    },
}


def files(version: str, *, states: bool) -> dict[str, str | None]:
    """The files of a version; with `states`, its pyproject.toml states the version."""
    stated = f'contract = "{version}"\n' if states else ""
    found: dict[str, str | None] = {
        "pyproject.toml": f'[tool.codevault]\nroots = ["."]\n{stated}',
        "agent/__init__.py": "",
        "agent/net.py": textwrap.dedent(_NET),
        "agent/env.py": "",
    }
    return {**found, **_FILES[version]}
