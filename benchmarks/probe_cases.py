"""Policies for `benchmarks.probe_alarms`, and the faults that are planted into them.

Those of published packages are left out where the package is not installed.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Plant = Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Case:
    """A policy, observations for it, and faults.

    Attributes:
        name: What it is.
        make: Builds it; all random numbers are seeded.
        observe: One observation for a batch size and a generator.
        faults: By the kind of fault, what plants it into a policy that was built.
        steps: How many observations a probe of it has.
        dtypes: What its weights may be.
    """

    name: str
    make: Callable[[], nn.Module]
    observe: Callable[[int, torch.Generator], Any]
    faults: Mapping[str, Plant]
    steps: int = 1
    dtypes: tuple[str, ...] = ("float32", "float64", "bfloat16", "float16")


class Normaliser(nn.Module):
    """Subtracts a running mean and divides by a running deviation."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.randn(size))
        self.register_buffer("deviation", torch.rand(size) + 0.5)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return (obs - self.mean) / self.deviation


class Heads(nn.Module):
    """Logits of two action branches, their greedy choices, and a value."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.move, self.turn, self.value = (nn.Linear(size, n) for n in (6, 6, 1))

    def forward(self, hidden: torch.Tensor) -> dict[str, torch.Tensor]:
        move, turn = self.move(hidden), self.turn(hidden)
        greedy = torch.stack([move.argmax(-1), turn.argmax(-1)], -1)
        return {"move": move, "turn": turn, "greedy": greedy, "value": self.value(hidden)}


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = Normaliser(24)
        self.body = nn.Sequential(nn.Linear(24, 256), nn.ELU(), nn.Linear(256, 256), nn.ELU())
        self.heads = Heads(256)

    def forward(self, obs: torch.Tensor) -> Any:
        return self.heads(self.body(self.norm(obs)))


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(4, 32, 5, 2),
            nn.BatchNorm2d(32),
            nn.LeakyReLU(0.01),
            nn.Conv2d(32, 64, 3, 2),
            nn.BatchNorm2d(64),
            nn.LeakyReLU(0.01),
            nn.Flatten(),
            nn.Linear(64 * 6 * 6, 128),
        )
        for layer in self.body:
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2)
        self.heads = Heads(128)

    def forward(self, obs: torch.Tensor) -> Any:
        return self.heads(self.body(obs))


class Lstm(nn.Module):
    """Keeps its memory in itself."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.core, self.heads = Normaliser(24), nn.LSTM(24, 128, 2), Heads(128)
        self.memory: Any = None
        self.forgets = False

    def forward(self, obs: torch.Tensor) -> Any:
        memory = None if self.forgets else self.memory
        out, self.memory = self.core(self.norm(obs)[None], memory)
        return self.heads(out[0])


class Transformer(nn.Module):
    """Attends over 16 tokens."""

    places: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(12, 64)
        self.register_buffer("places", torch.randn(16, 64) / 4)
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.1, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.heads = Heads(64)

    def forward(self, obs: torch.Tensor) -> Any:
        return self.heads(self.body(self.embed(obs) + self.places).mean(1))


def swap(first: str, second: str) -> Plant:
    """Exchanges two modules."""

    def plant(policy: Any) -> None:
        a, b = policy.get_submodule(first), policy.get_submodule(second)
        policy.set_submodule(first, b)
        policy.set_submodule(second, a)

    return plant


def change(path: str, value: Any) -> Plant:
    """Sets an attribute; a function is given the old value."""

    def plant(policy: Any) -> None:
        owner, _, name = path.rpartition(".")
        module = policy.get_submodule(owner)
        old = getattr(module, name)
        new = value(old) if callable(value) else value
        if isinstance(old, torch.Tensor):
            old.data.copy_(new)
        else:
            setattr(module, name, new)

    return plant


def _rounded(policy: Any) -> None:
    """As a file that was written in bfloat16."""
    for parameter in policy.parameters():
        parameter.data.copy_(parameter.data.bfloat16())


def _one_weight(policy: Any) -> None:
    """Adds a tenth of its tensor's spread to one weight in the middle."""
    tensors = [p for p in policy.parameters() if p.ndim > 1]
    tensor = tensors[len(tensors) // 2]
    flat = tensor.data.view(-1)
    flat[flat.numel() // 2] += 0.1 * flat.float().std()


ALWAYS: dict[str, Plant] = {"weights in bfloat16": _rounded, "one weight off": _one_weight}
WIDE = ("float32", "float64")
WIDE_ONLY = ("weights in bfloat16",)
"""Faults that change nothing, or nothing that counts, where weights have 16 bits anyway."""
_HEADS: dict[str, Plant] = ALWAYS | {"swapped heads": swap("heads.move", "heads.turn")}
_NORM: dict[str, Plant] = {
    "wrong normaliser": change("norm.mean", lambda old: old * 0.9),
    "dropped buffer": change("norm.deviation", torch.ones_like),
}


def _flat(size: int) -> Callable[[int, torch.Generator], torch.Tensor]:
    return lambda batch, generator: torch.randn(batch, size, generator=generator)


def cases() -> list[Case]:
    """Every case whose package is installed."""
    own = [
        Case(
            "MLP, 2 layers of 256",
            Mlp,
            _flat(24),
            _HEADS | _NORM | {"changed default": change("body.1.alpha", 0.9)},
        ),
        Case(
            "CNN with batch norm",
            Cnn,
            lambda n, g: torch.rand(n, 4, 32, 32, generator=g),
            _HEADS
            | {
                "changed default": change("body.2.negative_slope", 0.02),
                "wrong normaliser": change("body.1.running_mean", lambda old: old * 0.9),
                "dropped buffer": change("body.4.running_var", torch.ones_like),
            },
        ),
        Case(
            "LSTM, memory over 3 steps",
            Lstm,
            _flat(24),
            _HEADS | _NORM | {"lost memory": change("forgets", True)},
            steps=3,
        ),
        Case(
            "LSTM, 1 step",
            Lstm,
            _flat(24),
            _HEADS | _NORM | {"lost memory": change("forgets", True)},
        ),
        Case(
            "transformer, 2 layers",
            Transformer,
            lambda n, g: torch.randn(n, 16, 12, generator=g),
            _HEADS
            | {
                "changed default": change("body.layers.0.norm1.eps", 1e-6),
                "dropped buffer": change("places", torch.zeros_like),
            },
        ),
    ]
    return own + _published()


def _published() -> list[Case]:
    from benchmarks import probe_published

    return [
        case
        for package, make in probe_published.CASES
        if importlib.util.find_spec(package) is not None
        for case in make()
    ]
