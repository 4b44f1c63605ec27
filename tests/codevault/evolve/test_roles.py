"""Roles: what a parameter does for the outputs tells which key became which."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

import codevault
from codevault.evolve.keys import rows_of
from codevault.evolve.roles import Roles

if TYPE_CHECKING:
    import random

OBS = torch.linspace(-1, 1, 12).reshape(3, 4)
unhurried = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Attention(nn.Module):
    """One head; the names of its layers are given, in the order of registration."""

    def __init__(self, names: dict[str, str]) -> None:
        super().__init__()
        self.names = names
        for name in names.values():
            self.add_module(name, nn.Linear(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (getattr(self, self.names[role])(x) for role in "qkv")
        return torch.as_tensor(getattr(self, self.names["o"])((q @ k.T).softmax(-1) @ v))


class Twins(nn.Module):
    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names
        for name in names:
            self.add_module(name, nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(getattr(self, name)(x) for name in self.names)


class Sum(Twins):
    def forward(self, x: torch.Tensor) -> Any:
        return sum(super().forward(x))


def rows(module: nn.Module) -> list[tuple[str, tuple[int, ...], str, str]]:
    return rows_of(module.state_dict(), module)


def matched(old: nn.Module, new: nn.Module, *obs: Any) -> codevault.Match:
    obs = obs or (OBS,)
    roles = codevault.parameter_roles(old, obs), codevault.parameter_roles(new, obs)
    return codevault.match_state_dicts(rows(old), rows(new), roles=roles)


def test_query_key_and_value_are_told_apart() -> None:
    old = Attention({"q": "query", "k": "key", "v": "value", "o": "proj"})
    new = Attention({"v": "one", "o": "two", "k": "three", "q": "four"})
    match = matched(old, new)
    for role in "qkvo":
        assert match.automatic[f"{old.names[role]}.weight"] == f"{new.names[role]}.weight"
        assert match.automatic[f"{old.names[role]}.bias"] == f"{new.names[role]}.bias"
    assert codevault.match_state_dicts(rows(old), rows(new)).automatic == {}


def test_a_name_that_went_to_another_parameter_misleads_nobody() -> None:
    """norm2 became norm_cross, and norm3 became norm2: name and order say something else."""

    old = Chain("norm1", "norm2", "norm3")
    new = Chain("norm1", "norm_cross", "norm2", registered=("norm1", "norm2", "norm_cross"))
    match = matched(old, new)
    assert match.automatic["norm2.weight"] == "norm_cross.weight"
    assert match.automatic["norm3.bias"] == "norm2.bias"


class Chain(nn.Module):
    def __init__(self, *names: str, registered: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.names = names
        for name in registered or names:
            self.add_module(name, nn.LayerNorm(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name in self.names:
            x = torch.tanh(getattr(self, name)(x))
        return x


def test_twins_go_by_the_outputs_that_they_give() -> None:
    match = matched(Twins("left", "right"), Twins("beta", "alpha"))
    assert match.automatic["left.0.weight"] == "beta.0.weight"
    assert match.automatic["right.2.bias"] == "alpha.2.bias"
    assert match.asked == {}


def test_twins_whose_outputs_are_added_are_asked() -> None:
    match = matched(Sum("left", "right"), Sum("beta", "alpha"))
    assert match.automatic == {}
    assert {c.key for c in match.asked["left.0.weight"]} >= {"beta.0.weight", "alpha.0.weight"}


def test_what_only_one_version_uses_is_asked() -> None:
    class Idle(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.net = nn.Linear(4, 4)
            self.add_module(name, nn.Linear(3, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.as_tensor(self.net(x))
            used = getattr(self, "attn_out", None)
            return y if used is None else torch.cat([y, used(x[:, :3])], 1)

    match = matched(Idle("attn_proj"), Idle("attn_out"))
    assert "attn_proj.weight" not in match.automatic
    assert match.asked["attn_proj.weight"][0].evidence[-1] == "used"


def test_a_changed_function_leaves_it_to_names_and_order() -> None:
    old = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))
    new = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))
    assert set(matched(old, new).automatic) == set(old.state_dict())


def test_the_module_stays_as_it_was() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
            self.memory = torch.zeros(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.memory = self.memory + self.net(x + self.memory)
            return self.memory

    module = Counting()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    state = torch.random.get_rng_state()
    first, second = (codevault.parameter_roles(module, [OBS]) for _ in range(2))
    assert first == second
    assert module.training
    assert module.net[1].training
    assert torch.equal(module.memory, torch.zeros(3, 4))
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())
    assert first.unused == {"net.1.num_batches_tracked"}


def test_code_that_insists_on_float32_runs_in_it() -> None:
    class Single(nn.Sequential):
        def forward(self, x: torch.Tensor) -> Any:
            return super().forward(x.float())  # type: ignore[no-untyped-call]

    old = Single(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    new = Single(OrderedDict(last=nn.Linear(4, 4), act=nn.Tanh(), first=nn.Linear(4, 4)))
    assert matched(old, new).automatic == {
        "0.weight": "last.weight",
        "0.bias": "last.bias",
        "2.weight": "first.weight",
        "2.bias": "first.bias",
    }
    assert codevault.parameter_roles(old, [OBS]).precision == 1e-3


def test_policies_that_switch_gradients_off_have_roles() -> None:
    class Acting(Twins):
        @torch.no_grad()
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return super().forward(x)

    match = matched(Acting("left", "right"), Acting("beta", "alpha"))
    assert match.automatic["right.0.weight"] == "alpha.0.weight"


def test_tied_parameters_have_one_role() -> None:
    tied = Twins("left", "right")
    tied.right = tied.left
    roles = codevault.parameter_roles(tied, [OBS])
    assert roles.gradients["left.0.weight"] == roles.gradients["right.0.weight"]


def test_outputs_that_have_no_gradient_tell_nothing() -> None:
    class Greedy(nn.Sequential):
        def forward(self, x: torch.Tensor) -> Any:
            return super().forward(x).argmax(-1)  # type: ignore[no-untyped-call]

    roles = codevault.parameter_roles(Greedy(nn.Linear(4, 4)), [OBS])
    assert roles.gradients == {}
    assert roles.unused == frozenset()


def test_gradients_of_other_size_are_no_role() -> None:
    some = [("a", (2,), "float32", ""), ("b", (2,), "float32", "")]
    old = Roles({"a": (1.0, 0.5), "b": (2.0, 0.5)}, frozenset(), 1e-4)
    new = Roles({"a": (2.0, 0.5), "b": (1.00001, 0.5)}, frozenset(), 1e-4)
    match = codevault.match_state_dicts(some, some, roles=(old, new))
    assert match.automatic == {"a": "b", "b": "a"}


class Tree(nn.Module):
    """Branches of equal layers, each with a name and a turn."""

    def __init__(self, plan: list[Any], names: list[str], calls: list[int]) -> None:
        super().__init__()
        self.names, self.calls = names, calls
        for name, part in zip(names, plan, strict=True):
            self.add_module(name, part)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for place in self.calls:
            x = x + torch.tanh(getattr(self, self.names[place])(x))
        return x


plans = st.recursive(
    st.sampled_from(["linear", "norm"]),
    lambda part: st.lists(part, min_size=1, max_size=3),
    max_leaves=7,
)


def grown(plan: Any, chance: random.Random | None) -> nn.Module:
    """A module of this plan; with chance, renamed and registered in another order."""
    if plan == "linear":
        return nn.Linear(4, 4)
    if plan == "norm":
        return nn.LayerNorm(4)
    names = [f"part{place}" for place in range(len(plan))]
    order = list(range(len(plan)))
    parts = [grown(part, chance) for part in plan]
    if chance is None:
        return Tree(parts, names, order)
    chance.shuffle(order)
    new = [
        chance.choice(["alpha", "beta", "gamma"]) + str(place)
        for place in chance.sample(range(9), len(plan))
    ]
    return Tree(
        [parts[i] for i in order],
        [new[i] for i in order],
        [order.index(i) for i in range(len(plan))],
    )


def pairs(old: nn.Module, new: nn.Module, before: str = "", after: str = "") -> dict[str, str]:
    """Which key became which, by walking both in the order of calls."""
    if not isinstance(old, Tree) or not isinstance(new, Tree):
        return {f"{before}{leaf}": f"{after}{leaf}" for leaf in ("weight", "bias")}
    found: dict[str, str] = {}
    for one, other in zip(old.calls, new.calls, strict=True):
        mine, theirs = old.names[one], new.names[other]
        found |= pairs(
            getattr(old, mine), getattr(new, theirs), f"{before}{mine}.", f"{after}{theirs}."
        )
    return found


@unhurried
@given(plans, st.randoms(use_true_random=False))
def test_renamed_and_reordered_trees_are_matched_by_role(plan: Any, chance: random.Random) -> None:
    assume(isinstance(plan, list))
    old, new = grown(plan, None), grown(plan, chance)
    truth = pairs(old, new)
    match = matched(old, new)
    assert {k: t for k, t in match.automatic.items() if truth[k] != t} == {}
    roles = codevault.parameter_roles(old, [OBS])
    for key, candidates in match.asked.items():
        # Asked is only what no output tells apart, and the answer is among the candidates.
        twins = [k for k, g in roles.gradients.items() if g == roles.gradients.get(key)]
        assert key not in roles.gradients or len(twins) > 1
        assert truth[key] in [c.key for c in candidates]
