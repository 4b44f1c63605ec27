"""Three releases of Stable-Baselines3 in one process: one installed, two isolated, each its own."""

from __future__ import annotations

import multiprocessing
import operator
import os
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import stable_baselines3
import stable_baselines3.common.policies
import stable_baselines3.common.utils
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import codevault
from tests.road import policy_cases
from tests.road.releases import run_python

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.road.releases import Release, Releases

HOST = stable_baselines3.common.policies
POLICIES = "stable_baselines3.common.policies"

UNPICKLE = """
import pickle, sys
import torch

with open(sys.argv[1], "rb") as file:
    policy, observations, expected = pickle.load(file)
assert type(policy).__module__.startswith("_splint_"), type(policy)
assert "stable_baselines3" not in sys.modules
with torch.no_grad():
    for given, wanted in zip(policy(observations, deterministic=True), expected, strict=True):
        assert torch.equal(given, wanted)
"""

WITHOUT_TWIN = """
import sys
from pathlib import Path
import torch
from safetensors.torch import load_file

sys.path.insert(0, sys.argv[1])
import policy_cases
import codevault

for commit, figures in zip(sys.argv[3::2], sys.argv[4::2], strict=True):
    splint = codevault.load_code(sys.argv[2], commit)
    found = policy_cases.figures(splint.import_module("stable_baselines3.common.policies"))
    expected = load_file(figures)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)
twins = [name for name in sys.modules if name.partition(".")[0] == "stable_baselines3"]
assert not twins, twins

import stable_baselines3
assert "_splint_" not in stable_baselines3.A2C.__module__
print(stable_baselines3.__version__)
"""

UNLOAD = """
import sys
import torch
from safetensors.torch import load_file

sys.path.insert(0, sys.argv[1])
import policy_cases
import stable_baselines3
import stable_baselines3.common.policies as host
import codevault

def figures(splint):
    found = policy_cases.figures(splint.import_module("stable_baselines3.common.policies"))
    expected = load_file(sys.argv[4])
    assert all(torch.equal(found[key], expected[key]) for key in expected)

twins = {name: sys.modules[name] for name in sys.modules if name.startswith("stable_baselines3")}
splint = codevault.load_code(sys.argv[2], sys.argv[3])
figures(splint)
held = splint.unload()
assert held == (), held
assert not [name for name in sys.modules if name.startswith(splint.name)]
assert {n: sys.modules[n] for n in sys.modules if n.startswith("stable_baselines3")} == twins

again = codevault.load_code(sys.argv[2], sys.argv[3])
assert again.name == splint.name
figures(again)
keeper = again.load_symbol("stable_baselines3.common.distributions:Distribution")
held = again.unload()
assert any(f"{keeper.__module__}.Distribution " in line for line in held), held
"""


@pytest.fixture(params=[0, 1], ids=["2.0.0", "2.3.2"])
def release(request: pytest.FixtureRequest, releases: Releases) -> Release:
    index: int = request.param
    return releases.all[index]


def host_modules() -> dict[str, Any]:
    return {n: m for n, m in sys.modules.items() if n.partition(".")[0] == "stable_baselines3"}


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    differ = [k for k in found if not torch.equal(found[k], expected[k])]
    assert not differ


def test_three_versions_in_one_process(releases: Releases) -> None:
    before = host_modules()
    contents = {name: dict(vars(module)) for name, module in before.items()}
    first, second, installed = releases.all

    splints = [codevault.load_code(releases.repo, r.commit) for r in (first, second)]
    packages = [splint.import_module("stable_baselines3") for splint in splints]
    old = [splint.import_module(POLICIES) for splint in splints]

    versions = [package.__version__ for package in (*packages, stable_baselines3)]
    assert versions == ["2.0.0", "2.3.2", installed.version]
    assert len(set(versions)) == 3
    assert_equal(policy_cases.figures(HOST), load_file(installed.figures))
    # A, B, A: what one release does leaves nothing behind in the other.
    for module, release in ((old[0], first), (old[1], second), (old[0], first)):
        assert_equal(policy_cases.figures(module), load_file(release.figures))
    assert_equal(policy_cases.figures(HOST), load_file(installed.figures))
    for splint, module in zip(splints, old, strict=True):
        parts = policy_cases.make(module, "continuous").modules()
        homes = {type(part).__module__.partition(".")[0] for part in parts}
        assert homes == {splint.name, "torch"}

    assert host_modules() == before
    assert all(vars(before[name]) == names for name, names in contents.items())


def test_each_behaves_as_its_release(releases: Releases) -> None:
    # The outputs of all releases are equal; here they differ.
    splints = [codevault.load_code(releases.repo, r.commit) for r in releases.all[:2]]
    utils = [splint.import_module("stable_baselines3.common.utils") for splint in splints]
    utils.append(stable_baselines3.common.utils)
    means = [type(module.safe_mean([np.float32(1)])) for module in utils]
    assert means == [np.float32, float, float]
    assert [hasattr(module, "FloatSchedule") for module in utils] == [False, False, True]


def test_alone_is_alone(release: Release) -> None:
    with safe_open(release.figures, "pt") as file:
        assert file.metadata() == {"version": release.version}


def test_weights_are_loaded_into_the_isolated_policy(releases: Releases, release: Release) -> None:
    module = codevault.load_code(releases.repo, release.commit).import_module(POLICIES)
    expected = load_file(release.figures)
    for case in policy_cases.CASES:
        policy = policy_cases.make(module, case)
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter.uniform_()
        start = f"{case}/weights/"
        weights = {k.removeprefix(start): v for k, v in expected.items() if k.startswith(start)}
        policy.load_state_dict(weights)
        start = f"{case}/outputs/"
        wanted = {k.removeprefix(start): v for k, v in expected.items() if k.startswith(start)}
        assert_equal(policy_cases.outputs(policy), wanted)


def test_modules_are_the_releases_own(releases: Releases, release: Release, scratch: Path) -> None:
    splint = codevault.load_code(releases.repo, release.commit)
    module = splint.import_module(POLICIES)
    assert splint.modules[POLICIES] is module
    assert {name.partition(".")[0] for name in splint.modules} == {"stable_baselines3"}
    for name, own in splint.modules.items():
        assert own.__name__ == f"{splint.name}.{name}"
        assert own.__file__ is not None
        assert Path(own.__file__).is_relative_to(scratch / "cache")
        inner = own.__file__.partition("stable_baselines3/")[2]
        source = release.tree / "stable_baselines3" / inner
        assert Path(own.__file__).read_bytes() == source.read_bytes()
        for thing in vars(own).values():
            made_in = getattr(thing, "__module__", None) or ""
            assert not str(made_in).startswith("stable_baselines3"), (name, thing)


def test_classes_of_two_versions_differ(releases: Releases) -> None:
    first, second = (codevault.load_code(releases.repo, r.commit) for r in releases.all[:2])
    classes = {s.load_symbol(f"{POLICIES}:ActorCriticPolicy") for s in (first, second)}
    classes.add(HOST.ActorCriticPolicy)
    assert len(classes) == 3
    policy = policy_cases.make(first.import_module(POLICIES), "continuous")
    assert [isinstance(policy, cls) for cls in classes].count(True) == 1
    assert isinstance(policy, torch.nn.Module)
    assert first.load_symbol(f"{POLICIES}.ActorCriticPolicy.forward") is type(policy).forward


def test_the_same_commit_twice_is_the_same_code(releases: Releases, release: Release) -> None:
    first, second = (codevault.load_code(releases.repo, release.commit) for _ in range(2))
    assert first.import_module(POLICIES) is second.import_module(POLICIES)


@pytest.mark.parametrize("way", ["path", "bare", "file", "git"])
def test_ways_to_the_repository(
    way: str,
    releases: Releases,
    tmp_path: Path,
    git_daemon: Callable[[Path], str],
) -> None:
    here = codevault.load_code(releases.repo, releases.all[0].commit)
    if way == "git":
        repo = f"{git_daemon(releases.repo.parent)}/{releases.repo.name}"
    else:
        paths = {"path": releases.repo, "bare": releases.repo / ".git"}
        repo = releases.repo.as_uri() if way == "file" else str(paths[way])
    splint = codevault.load_code(repo, releases.all[0].commit, cache=tmp_path / "cache")
    assert (splint.name, splint.snapshot.digest) == (here.name, here.snapshot.digest)
    assert os.listdir(tmp_path / "cache")


def test_nothing_imported_by_the_host(releases: Releases, tmp_path: Path) -> None:
    program = tmp_path / "without_twin.py"
    program.write_text(WITHOUT_TWIN)
    pairs = [part for r in releases.all[:2] for part in (r.commit, r.figures)]
    said = run_python(program, Path(__file__).parent, releases.repo, *pairs)
    assert said.split() == [releases.all[2].version]


def test_spawned_workers_get_isolated_policies(releases: Releases, release: Release) -> None:
    module = codevault.load_code(releases.repo, release.commit).import_module(POLICIES)
    policy = policy_cases.make(module, "continuous")
    observations = np.linspace(-1, 1, 30, dtype="float32").reshape(5, 6)
    predict = operator.methodcaller("predict", observations, deterministic=True)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        given, state = pool.apply(predict, (policy,))
        back = pool.apply(type, (policy,))
    assert state is None
    assert (given == predict(policy)[0]).all()
    assert back is type(policy)


def test_pickles_return_as_the_same_class(
    releases: Releases, release: Release, tmp_path: Path
) -> None:
    module = codevault.load_code(releases.repo, release.commit).import_module(POLICIES)
    policy = policy_cases.make(module, "discrete")
    observations = torch.linspace(-1, 1, 30).reshape(5, 6)
    with torch.no_grad():
        expected = policy(observations, deterministic=True)
    data = pickle.dumps((policy, observations, expected))
    assert pickle.loads(data)[0].__class__ is type(policy)

    (tmp_path / "policy.pickle").write_bytes(data)
    program = tmp_path / "unpickle.py"
    program.write_text(UNPICKLE)
    run_python(program, tmp_path / "policy.pickle")


def test_unload(releases: Releases, release: Release, tmp_path: Path) -> None:
    program = tmp_path / "unload.py"
    program.write_text(UNLOAD)
    run_python(program, Path(__file__).parent, releases.repo, release.commit, release.figures)
