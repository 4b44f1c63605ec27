"""Old policies behind today's interface: six versions, and each pair of them both ways."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tensordict import TensorDict

import codevault
from codevault.contract import Contract
from codevault.errors import ContractError
from tests.codevault.interface.bridge import CONTRACT
from tests.codevault.interface.history import VERSIONS, files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::codevault.ProbeWarning")
OBS = torch.arange(24, dtype=torch.float32).reshape(2, 12) / 10


def forget() -> None:
    for name in [n for n in sys.modules if n == "agent" or n.startswith("agent.")]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def saved(
    walker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., str]]:
    """Saves a policy of a version, with weights that are the same in all; today's code follows."""
    monkeypatch.syspath_prepend(str(walker.top))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def save(version: str, *, states: bool = True) -> str:
        walker.commit(files(version, states=states))
        forget()
        agent = importlib.import_module("agent.policy").Agent
        env = CONTRACT.adapted(today(), version, Host())
        torch.manual_seed(0)
        policy = agent(env)
        path = tmp_path / f"{version}-{states}.mpt"
        codevault.save_policy(path, policy, architecture={"class_path": "agent.policy:Agent"})
        walker.commit(files("interface", states=True))
        forget()
        return str(path)

    yield save
    forget()


class Host:
    """Today's modules, with the interface of a splint."""

    @staticmethod
    def load_symbol(path: str) -> Any:
        module, _, name = path.partition(":")
        return getattr(importlib.import_module(module), name)


def today() -> Any:
    """The environment as today's application describes it: whatever module its class is in."""
    from pydantic import BaseModel

    class Feature(BaseModel):
        id: int
        name: str
        normalization: float

    class PolicyEnvInterface(BaseModel):
        obs_shape: tuple[int, int]
        obs_features: list[Feature]
        actions: list[str]

    names = ("type_id", "hp", "inv:ore")
    return PolicyEnvInterface(
        obs_shape=(3, 4),
        obs_features=[Feature(id=i, name=n, normalization=2.0) for i, n in enumerate(names)],
        actions=["noop", "move", "turn", "use"],
    )


def two_steps(policy: Any) -> tuple[list[int], torch.Tensor]:
    """Plays two steps from a fresh memory, as today's application does."""
    policy.initialize_to_environment(today(), "cpu", is_training=False)
    policy.reset_memory()
    policy(TensorDict({"env_obs": OBS}, batch_size=[2]))
    td = policy(TensorDict({"env_obs": OBS.flip(0)}, batch_size=[2]))
    return td["actions"].tolist(), td["values"]


@pytest.mark.parametrize("states", [True, False], ids=["stated", "unstated"])
@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_plays_as_todays(version: str, states: bool, saved: Any) -> None:
    policy = codevault.load_policy(saved(version, states=states), env=today(), contract=CONTRACT)
    found = codevault.provenance(policy)
    assert found.version == version
    assert found.manifest.contract == (version if states else None)
    actions, values = two_steps(codevault.contract.wrap(policy, "interface"))
    newest = codevault.load_policy(saved("interface"), env=today(), contract=CONTRACT)
    assert codevault.contract.wrap(newest, "interface") is newest
    same, as_these = two_steps(newest)
    assert actions == same
    assert torch.equal(values, as_these)
    assert max(actions) < 12
    assert policy.feature_ids == [0, 1, 2]


@pytest.mark.parametrize(("older", "newer"), [*combinations(VERSIONS, 2)])
def test_each_pair_of_versions_is_bridged_both_ways(older: str, newer: str) -> None:
    """What a version needs of the environment survives the way down, whatever it starts from."""
    start, end = VERSIONS.index(older), VERSIONS.index(newer)
    plain = Contract(versions=VERSIONS, describe=CONTRACT.describe, inputs=CONTRACT.inputs)
    at_newer = plain.adapted(today(), newer, None)
    part = Contract(
        versions=VERSIONS[start : end + 1],
        inputs={
            p: f for p, f in CONTRACT.inputs.items() if set(p) <= set(VERSIONS[start : end + 1])
        },
    )
    assert part.adapted(at_newer, older, None) == plain.adapted(today(), older, None)

    class Recorder:
        def __call__(self, *args: Any) -> Any:
            raise AssertionError

    wrapped = CONTRACT.wrapped(Recorder(), older, newer)
    changes = [p for p in CONTRACT.wrappers if VERSIONS.index(p[0]) >= start]
    changes = [p for p in changes if VERSIONS.index(p[1]) <= end and p != ("metadata", "rules")]
    depth = 0
    while not isinstance(wrapped, Recorder):
        wrapped, depth = wrapped.policy, depth + 1
    assert depth == len(changes)


def test_a_contract_has_all_steps() -> None:
    assert CONTRACT.missing() == ()
    assert Contract(versions=("a", "b")).missing() == (
        "inputs[('b', 'a')]",
        "wrappers[('a', 'b')]",
    )


def test_a_missing_step_names_both_ends(saved: Any) -> None:
    path = saved("duck")
    short = replace(
        CONTRACT,
        inputs={p: f for p, f in CONTRACT.inputs.items() if p != ("rules", "metadata")},
    )
    with pytest.raises(ContractError, match="from version 'rules' to 'metadata'") as caught:
        codevault.load_policy(path, env=today(), contract=short)
    assert "the way from 'interface' to 'duck'" in str(caught.value)
    cut = replace(
        CONTRACT, wrappers={p: f for p, f in CONTRACT.wrappers.items() if p != ("duck", "metadata")}
    )
    policy = codevault.load_policy(path, env=today(), contract=cut)
    with pytest.raises(ContractError, match="from version 'duck' to 'metadata'"):
        codevault.contract.wrap(policy, "interface")
    assert codevault.contract.wrap(policy, "duck") is policy


def test_what_a_contract_cannot_do_is_said(saved: Any) -> None:
    path = saved("five")
    policy = codevault.load_policy(path, env=CONTRACT.adapted(today(), "five", None))
    with pytest.raises(ContractError, match="loaded without a contract"):
        codevault.contract.wrap(policy, "interface")
    policy = codevault.load_policy(path, env=today(), contract=CONTRACT)
    with pytest.raises(ContractError, match="that is older"):
        codevault.contract.wrap(policy, "eight")
    with pytest.raises(ContractError, match="knows no version 'tomorrow'"):
        codevault.contract.wrap(policy, "tomorrow")
    with pytest.raises(ContractError, match="knows no version 'five'"):
        codevault.load_policy(path, env=today(), contract=Contract(versions=("a",)))
    silent = replace(CONTRACT, unstated=lambda code: None)
    with pytest.raises(ContractError, match="states no version"):
        codevault.load_policy(saved("five", states=False), env=today(), contract=silent)


@pytest.mark.parametrize(
    "wrong",
    [
        {"versions": ()},
        {"versions": ("a", "a")},
        {"versions": ("a", "b"), "inputs": {("a", "b"): dict}},
        {"versions": ("a", "b", "c"), "inputs": {("c", "a"): dict}},
        {"versions": ("a", "b"), "wrappers": {("b", "a"): dict}},
        {"versions": ("a", "b"), "builders": {"c": lambda data, code: data}},
    ],
)
def test_a_contract_of_wrong_steps_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match="cannot be part of a contract"):
        Contract(**wrong)


def test_a_policy_that_is_saved_again_keeps_its_version(saved: Any, tmp_path: Path) -> None:
    policy = codevault.load_policy(saved("rules"), env=today(), contract=CONTRACT)
    manifest = codevault.save_policy(tmp_path / "again.mpt", policy)
    assert manifest.contract == "rules"
    again = codevault.load_policy(tmp_path / "again.mpt", env=today(), contract=CONTRACT)
    assert codevault.provenance(again).version == "rules"
