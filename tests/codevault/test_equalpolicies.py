from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from codevault.equalpolicies import alike

if TYPE_CHECKING:
    from collections.abc import Callable


class Quiet(nn.Module):
    """Leaves an attribute out of its pickles."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.gain = gain

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "gain"}


def made(change: Callable[[Any], object] = lambda policy: None) -> nn.Module:
    """A policy from one seed, changed."""
    torch.manual_seed(3)
    policy = Quiet()
    policy.tied = policy.layer.weight
    policy.register_buffer("seen", torch.arange(3.0), persistent=False)
    policy.act = lambda value, scale=2: value * scale + policy.gain  # type: ignore[assignment]
    change(policy)
    return policy


def test_two_policies_of_one_construction_are_alike() -> None:
    assert alike(made(), made())


CHANGES: dict[str, Callable[[Any], object]] = {
    "attribute": lambda p: setattr(p, "name", "b"),
    "an attribute that its pickle leaves out": lambda p: setattr(p, "gain", 1.5),
    "value": lambda p: p.layer.bias.data[1].add_(1e-6),
    "sign of zero": lambda p: p.seen[0].neg_(),
    "dtype": lambda p: setattr(p, "seen", p.seen.double()),
    "strides": lambda p: setattr(p.layer.weight, "data", p.layer.weight.data.t().contiguous().t()),
    "gradient wanted": lambda p: p.layer.bias.requires_grad_(requires_grad=False),
    "no longer tied": lambda p: setattr(p, "tied", nn.Parameter(p.layer.weight.detach().clone())),
    "memory shared": lambda p: setattr(p, "view", p.layer.weight.detach()),
    "mode": lambda p: p.eval(),
    "function": lambda p: setattr(p, "act", lambda value, scale=3: value * scale + p.gain),
    "attribute of a tensor": lambda p: setattr(p.layer.weight, "tag", 1),
    "persistence": lambda p: p.register_buffer("seen", p.seen),
    "hook": lambda p: p.layer.weight.register_hook(print),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_every_difference_is_seen(change: Callable[[Any], object]) -> None:
    assert not alike(made(), made(change))


def test_what_cannot_be_written_down_counts_as_different() -> None:
    def lock(policy: Any) -> None:
        policy.lock = threading.Lock()

    assert not alike(made(lock), made(lock))
