"""Large policies are built without initial weights where that is proven to change nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import codevault
from codevault import restoring, skipinit, weights
from codevault.equalpolicies import alike

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILLED: list[bool] = []


class Base(nn.Module):
    """Tells whether its weights have memory while it is built."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4)
        nn.init.orthogonal_(self.layer.weight, math.sqrt(2))
        FILLED.append(self.layer.weight.data_ptr() != 0)


class Recurrent(Base):
    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.LSTM(4, 4, num_layers=2)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 6)
        self.table = nn.Embedding(5, 4, padding_idx=0)
        self.attention = nn.MultiheadAttention(4, 2)


class Tied(Base):
    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Linear(6, 4, bias=False)
        self.again.weight = self.layer.weight
        self.kept = [self.layer.weight]


class Telling(Base):
    def __init__(self) -> None:
        super().__init__()
        self.place = self.layer.weight.device
        self.register_buffer("times", torch.arange(4.0, device=self.place), persistent=False)
        self.is_here = not self.layer.weight.is_meta and self.layer.weight.is_cpu
        self.layer.weight.tag = "first"  # type: ignore[attr-defined]
        self.layer.bias.requires_grad = False


class Convolution(Base):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        nn.init.dirac_(self.conv.weight)
        self.rest = nn.Sequential(nn.ReLU(), nn.GroupNorm(2, 4))


class Seeded(Base):
    def __init__(self) -> None:
        torch.manual_seed(5)
        super().__init__()
        self.order = torch.randperm(6)


class Scratch(Base):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.empty(2).fill_(3.0)


class Measured(Base):
    def __init__(self) -> None:
        super().__init__()
        try:
            self.norm = float(self.layer.weight.detach().norm())
        except (RuntimeError, NotImplementedError):
            self.norm = 0.0


class Parametrized(Base):
    def __init__(self) -> None:
        super().__init__()
        self.layer = parametrizations.weight_norm(self.layer)


class Copied(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("start", self.layer.weight.detach().clone(), persistent=False)


class Hooked(Base):
    def __init__(self) -> None:
        super().__init__()
        self.layer.weight.register_hook(print)  # type: ignore[no-untyped-call]


def loads(cls: type[nn.Module], count: int) -> list[nn.Module]:
    """Several loads of one policy, by one kept answer."""
    torch.manual_seed(1)
    state = {k: torch.rand_like(v.float()).to(v.dtype) for k, v in cls().state_dict().items()}
    answers: list[bytes] = []

    def keep(find: Callable[[], bytes]) -> bytes:
        if not answers:
            answers.append(find())
        return answers[0]

    def give(policy: Any) -> None:
        own = {key: value.clone() for key, value in state.items()}
        weights.assign(policy, own, where="t")

    FILLED.clear()
    loaded = []
    for _ in range(count):
        torch.manual_seed(2)
        loaded.append(skipinit.constructed(cls, give, keep))
    torch.manual_seed(2)
    plain = cls()
    give(plain)
    FILLED.pop()
    return [*loaded, plain]


@pytest.mark.parametrize("cls", [Recurrent, Tied, Telling, Convolution])
def test_a_policy_without_initial_weights_is_as_a_plain_one(cls: type[nn.Module]) -> None:
    first, second, third, plain = loads(cls, 3)
    assert FILLED == [True, False, False, False]  # once as ever, and once to compare
    assert alike(second, plain)
    assert alike(third, plain)
    assert alike(first, plain)


@pytest.mark.parametrize("cls", [Seeded, Scratch, Measured, Copied])
def test_code_that_would_notice_is_built_as_ever(cls: type[nn.Module]) -> None:
    first, second, plain = loads(cls, 2)
    assert FILLED == [True, False, True]
    assert alike(first, plain)
    assert alike(second, plain)


@pytest.mark.parametrize("cls", [Hooked, Parametrized])
def test_what_cannot_be_compared_is_built_as_ever(cls: type[nn.Module]) -> None:
    loads(cls, 3)
    assert FILLED == [True, False, True, True]


def test_no_other_thread_and_no_later_code_is_concerned() -> None:
    loads(Recurrent, 2)
    assert torch.empty(3).device.type == "cpu"


def test_under_another_default_device_nothing_is_left_out() -> None:
    with torch.device("meta"):
        assert skipinit._unfilled(Base, lambda policy: None) is None


def test_the_answer_is_kept_for_one_description() -> None:
    tag = skipinit.tag({"class_path": "net.Net", "kwargs": {"width": 4}}, None)
    assert tag == skipinit.tag({"kwargs": {"width": 4}, "class_path": "net.Net"}, None)
    assert tag != skipinit.tag({"class_path": "net.Net", "kwargs": {"width": 5}}, None)
    assert tag != skipinit.tag({"class_path": "net.Net", "kwargs": {"width": 4}}, {"n": 1})


def test_a_large_policy_of_a_checkpoint_is_built_without_initial_weights(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.commit(
        {
            "src/walker/__init__.py": "",
            "src/walker/net.py": """
                import torch
                FILLED = []

                class Walker(torch.nn.Module):
                    def __init__(self):
                        super().__init__()
                        self.body = torch.nn.GRU(4, 8)
                        FILLED.append(self.body.weight_hh_l0.data_ptr() != 0)

                    def forward(self, obs):
                        return self.body(obs)[0]
            """,
        }
    )
    path = tmp_path / "best.mpt"
    policy = project.load("walker.net").Walker()
    codevault.save_policy(path, policy, probe=torch.ones(3, 2, 4))
    monkeypatch.setattr(restoring, "LARGE", 0)
    loaded = [codevault.load_policy(path) for _ in range(3)]
    old = codevault.provenance(loaded[0]).splint
    assert old is not None
    assert old.import_module("walker.net").FILLED == [True, False, False, False]
    assert alike(loaded[0], loaded[1])
    assert alike(loaded[0], loaded[2])
    loaded[2](torch.ones(3, 2, 4)).sum().backward()
    assert loaded[2].body.weight_hh_l0.grad is not None
    monkeypatch.setattr(restoring, "LARGE", 1 << 30)
    codevault.load_policy(path)
    assert old.import_module("walker.net").FILLED[-1]
    old.unload()
