"""Published policies do exactly the same, native and isolated: forward, backward and compiled."""

from __future__ import annotations

import functools
import gc
import importlib
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import stable_baselines3
import stable_baselines3.common.policies
import torch
from gymnasium import spaces

import codevault
from benchmarks import clocks, policies, proof
from tests.road import policy_cases
from tests.road.releases import commit_tree, git, wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from tests.road.releases import Releases

RECURRENT = "sb3_contrib.common.recurrent.policies"
FORMS: dict[str, Any] = {
    "eager": lambda call: call,
    "compiled": lambda call: torch.compile(call, backend="aot_eager"),
}


# Dynamo reads it of tensors that are no leaves, when a frame is compiled after a graph break.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with clocks.one_thread():
        yield
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ModuleType, Path, str]]:
    """sb3-contrib, imported natively, and a repository with the same files."""
    folder = tmp_path_factory.mktemp("contrib")
    tree, repo = folder / "tree", folder / "repo"
    with zipfile.ZipFile(wheel(stable_baselines3.__version__, "sb3_contrib")) as archive:
        archive.extractall(tree)
    git(folder, "init", "--quiet", str(repo))
    commit = commit_tree(repo, tree, "release")
    sys.path.insert(0, str(tree))
    try:
        yield importlib.import_module(RECURRENT), repo, commit
    finally:
        sys.path.remove(str(tree))
        for name in [name for name in sys.modules if name.partition(".")[0] == "sb3_contrib"]:
            del sys.modules[name]
        gc.collect()


def assert_same(
    native: Any, isolated: Any, arguments: tuple[Any, ...], form: str, run: Any
) -> None:
    assert type(native).__module__ == type(isolated).__module__.partition(".")[2]
    policies.share({"native": native, "isolated": isolated})
    found = []
    for policy in (native, isolated):
        # Third parties' code has one list of compiled forms: the second would meet the first's.
        torch._dynamo.reset()
        call = FORMS[form](policy)
        found.append(proof.prove(policy, functools.partial(call, *arguments, True), run))
    assert found[0].opcodes > 500
    assert any("Torch-Compiled" in kernel for kernel in found[0].kernels) == (form == "compiled")
    assert min(len(found[0].operators), len(found[0].kernels)) > 20
    assert found[0].differences(found[1]) == []


@pytest.mark.parametrize("run", [proof.forward, proof.backward])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", ["continuous", "image"])
def test_a_published_policy_costs_the_same(
    case: str, form: str, run: Any, releases: Releases
) -> None:
    host = stable_baselines3.common.policies
    splint = codevault.load_code(releases.repo, releases.all[-1].commit)
    mounted = splint.import_module("stable_baselines3.common.policies")
    native, isolated = (policy_cases.make(module, case) for module in (host, mounted))
    low, high = native.observation_space.low, native.observation_space.high
    drawn = np.random.default_rng(7).uniform(low, high, (5, *low.shape))
    obs = torch.as_tensor(drawn.astype(native.observation_space.dtype))
    assert_same(native, isolated, (obs,), form, run)


@pytest.mark.parametrize("run", [proof.forward, proof.backward])
@pytest.mark.parametrize("form", FORMS)
def test_a_published_recurrent_policy_costs_the_same(
    form: str, run: Any, recurrent: tuple[ModuleType, Path, str]
) -> None:
    host, repo, commit = recurrent
    mounted = codevault.load_code(repo, commit).import_module(RECURRENT)

    def make(module: ModuleType) -> Any:
        torch.manual_seed(3)
        image = spaces.Box(0, 255, (3, 36, 36), np.uint8, seed=3)
        cls = module.RecurrentActorCriticCnnPolicy
        return cls(image, spaces.Discrete(4), lambda _: 1e-3, lstm_hidden_size=16)

    obs = torch.randint(0, 256, (5, 3, 36, 36), generator=torch.Generator().manual_seed(7)).byte()
    kinds = importlib.import_module("sb3_contrib.common.recurrent.type_aliases")
    zeros = (torch.zeros(1, 5, 16), torch.zeros(1, 5, 16))
    states = kinds.RNNStates(pi=zeros, vf=zeros)
    assert_same(make(host), make(mounted), (obs, states, torch.zeros(5)), form, run)
