"""Policies of three kinds in a repository, and as the arms of a comparison have them.

`native` is a plain import, `isolated` what `codevault.load_code` gives, every other arm the same
file plainly imported once more under another name. All arms hold the same parameter storages.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import torch

import codevault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import ModuleType

SHAPES = {"Residual": (64,), "Recurrent": (3, 16, 16), "Transformer": (12, 16)}
SCALE = "def scaled(x):\n    return x * 0.5\n"
NET = """
import torch
from torch import nn
from walker.scale import scaled

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.inner = nn.LayerNorm(width), nn.Linear(width, 2 * width)
        self.outer = nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.outer(torch.nn.functional.gelu(self.inner(self.norm(x))))

class Residual(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        self.encoder = nn.Linear(64, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(2))
        self.actor, self.critic = nn.Linear(width, 8), nn.Linear(width, 1)

    def forward(self, obs):
        from walker.scale import scaled as late       # an own import at call time
        x = torch.tanh(self.encoder(late(obs)))
        for block in self.blocks:
            x = block(x)
        return self.actor(x), self.critic(x)

class Recurrent(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.convolved = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU(), nn.Flatten()
        )
        self.memory = nn.LSTM(72, width, batch_first=True)
        self.actor, self.critic = nn.Linear(width, 8), nn.Linear(width, 1)

    def forward(self, obs):
        x = self.convolved(scaled(obs))
        x, state = self.memory(x.unsqueeze(1))
        return self.actor(x[:, 0]), self.critic(x[:, 0]), *state

class Transformer(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.embed = nn.Linear(16, width)
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.actor, self.critic = nn.Linear(width, 8), nn.Linear(width, 1)

    def forward(self, obs):
        x = self.encoder(self.embed(scaled(obs))).mean(1)
        return self.actor(x), self.critic(x)
"""


def make_repository(folder: Path, net: str = NET) -> tuple[Path, str]:
    """A git repository with the policies as package `walker`, and its commit."""
    for name, text in (("__init__", ""), ("scale", SCALE), ("net", net)):
        file = folder / "walker" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "policies"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return folder, head.stdout.strip()


ARMS = ("native", "again", "isolated")


def import_arms(folder: Path, arms: Sequence[str] = ARMS) -> dict[str, ModuleType]:
    """The policies' module as each arm has it, imported in this order."""
    repo, commit = make_repository(folder / "repo")
    made: dict[str, ModuleType] = {}
    sys.path.insert(0, str(repo))
    try:
        for arm in arms:
            if arm == "native":
                made[arm] = importlib.import_module("walker.net")
            elif arm == "isolated":
                splint = codevault.load_code(repo, commit, cache=folder / "cache")
                made[arm] = splint.import_module("walker.net")
            else:
                made[arm] = _once_more(repo / "walker" / "net.py", f"walker_{arm}")
    finally:
        sys.path.remove(str(repo))
    return made


def _once_more(file: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(arms: Mapping[str, ModuleType], policy: str, device: str = "cpu") -> dict[str, Any]:
    """One policy of each arm on a device, all on the parameters of the first."""
    makers = {name: getattr(arm, policy) for name, arm in arms.items()}
    torch.manual_seed(0)
    return share({name: make() for name, make in makers.items()}, device)


def share(policies: Mapping[str, Any], device: str = "cpu") -> dict[str, Any]:
    """Equal policies, moved to a device, all on the parameter storages of the first."""
    made = {name: policy.to(device).eval() for name, policy in policies.items()}
    weights = next(iter(made.values())).state_dict()
    for policy in made.values():
        # Parameters stay parameters of their own, so that each arm has gradients of its own.
        with torch.no_grad():
            for name, parameter in policy.named_parameters():
                parameter.data = weights[name]
        assert all(p.data_ptr() == weights[n].data_ptr() for n, p in policy.named_parameters())
    return made


def observations(policy: str, batch: int, device: str = "cpu") -> torch.Tensor:
    drawn = torch.randn(batch, *SHAPES[policy], generator=torch.Generator().manual_seed(batch))
    return drawn.to(device)
