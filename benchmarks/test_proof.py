"""What a pass does is equal, native or isolated; and a difference that is planted is seen."""

from __future__ import annotations

import functools
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch

import codevault
from benchmarks import clocks, policies, proof

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

# Each changes one thing of the residual policy; what of the proof must notice it.
PLANTED = {
    "code": ("return x + self.outer(", "x, = (x,)\n        return x + self.outer(", "opcodes"),
    "operator": ("self.encoder(late(obs))", "self.encoder(late(obs) * 1.0)", "operators"),
    "kernel": ("self.encoder(late(obs))", "self.encoder(late(obs) * 1.0)", "kernels"),
    "value": ("nn.LayerNorm(width)", "nn.LayerNorm(width, eps=1e-3)", "values"),
    "constant": ("nn.functional.gelu(", "nn.functional.relu(", "operators"),
}
DEVICES = (
    "cpu",
    pytest.param(
        "cuda",
        marks=(
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ),
    ),
)


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CODEVAULT_CACHE", str(tmp_path / "default-cache"))
    with clocks.one_thread():  # waiting threads would cost most on a shared machine
        yield
    torch._dynamo.reset()
    for name in [name for name in sys.modules if name.partition(".")[0] == "walker"]:
        del sys.modules[name]


@pytest.fixture
def arms(tmp_path: Path) -> dict[str, ModuleType]:
    return policies.import_arms(tmp_path)


def eager(policy: Any) -> Any:
    return policy


def compiled(policy: Any) -> Any:
    return torch.compile(policy, backend="aot_eager")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("run", [proof.forward, proof.backward])
@pytest.mark.parametrize("form", [eager, compiled])
@pytest.mark.parametrize("name", sorted(policies.SHAPES))
def test_isolation_changes_nothing(
    name: str, form: Callable[[Any], Any], run: Any, device: str, arms: dict[str, ModuleType]
) -> None:
    built = policies.build(arms, name, device)
    assert type(built["isolated"]).__module__.startswith("_splint_")
    assert len({type(policy) for policy in built.values()}) == 3
    obs = policies.observations(name, 7, device)
    calls = {arm: (policy, form(policy)) for arm, policy in built.items()}
    native, again, isolated = (
        proof.prove(policy, functools.partial(call, obs), run) for policy, call in calls.values()
    )
    assert native.opcodes > 100
    assert len(native.operators) > 10
    assert len(native.kernels) > 10
    assert any("Torch-Compiled" in kernel for kernel in native.kernels) == (form is compiled)
    assert native.differences(again) == []
    assert native.differences(isolated) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
# Inductor imports parts of torch that use what torch deprecates.
@pytest.mark.filterwarnings("ignore:.*script_method. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("run", [proof.forward, proof.backward])
def test_isolation_changes_nothing_in_inductors_kernels(
    run: Any, arms: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch._inductor.config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    built = policies.build(arms, "Residual")
    obs = policies.observations("Residual", 7)
    with torch._inductor.config.patch({"cpp.enable_kernel_profile": True}):  # names its kernels
        # What is compiled now runs by another way than what is found on the disk, as all then are.
        run(built["again"], functools.partial(torch.compile(built["again"]), obs))
        torch._dynamo.reset()
        native, again, isolated = (
            proof.prove(policy, functools.partial(torch.compile(policy), obs), run)
            for policy in built.values()
        )
    assert any("cpp_fused" in kernel for kernel in native.kernels), native.kernels
    assert native.differences(again) == []
    assert native.differences(isolated) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", sorted(policies.SHAPES))
def test_a_captured_graph_gives_the_same(name: str, arms: dict[str, ModuleType]) -> None:
    values = []
    for policy in policies.build(arms, name, "cuda").values():
        obs = policies.observations(name, 7, "cuda")
        outputs: list[Any] = []
        with torch.no_grad():
            replay = clocks.captured(lambda: outputs.append(policy(obs)))  # noqa: B023
            replay()
        torch.cuda.synchronize()
        values.append([tensor.clone() for tensor in proof.tensors(outputs[-1])])
    native, again, isolated = values
    assert all(map(torch.equal, native, again))
    assert all(map(torch.equal, native, isolated))


@pytest.mark.parametrize("change", sorted(PLANTED))
def test_a_planted_difference_is_seen(
    change: str, arms: dict[str, ModuleType], tmp_path: Path
) -> None:
    old, new, part = PLANTED[change]
    assert policies.NET.count(old) == 1
    repo, commit = policies.make_repository(tmp_path / "other", policies.NET.replace(old, new))
    splint = codevault.load_code(repo, commit, cache=tmp_path / "cache")
    other = {"native": arms["native"], "other": splint.import_module("walker.net")}
    obs = policies.observations("Residual", 7)
    native, changed = (
        proof.prove(p, functools.partial(p, obs))
        for p in policies.build(other, "Residual").values()
    )
    assert part in native.differences(changed)


def test_a_gradient_that_differs_is_seen(arms: dict[str, ModuleType], tmp_path: Path) -> None:
    old = "return self.actor(x), self.critic(x)\n\nclass Recurrent"
    assert policies.NET.count(old) == 1
    changed = policies.NET.replace(old, old.replace("self.critic(x)", "self.critic(x.detach())"))
    repo, commit = policies.make_repository(tmp_path / "other", changed)
    splint = codevault.load_code(repo, commit, cache=tmp_path / "cache")
    other = {"native": arms["native"], "other": splint.import_module("walker.net")}
    obs = policies.observations("Residual", 7)
    native, cut = (
        proof.prove(p, functools.partial(p, obs), proof.backward)
        for p in policies.build(other, "Residual").values()
    )
    assert "values" in native.differences(cut)


def test_a_wrapper_is_seen(arms: dict[str, ModuleType]) -> None:
    # The design this project does not have: a call in between on every forward pass.
    class Wrapper(torch.nn.Module):
        def __init__(self, policy: Any) -> None:
            super().__init__()
            self.policy = policy

        def forward(self, obs: torch.Tensor) -> Any:
            return self.policy(obs)

    policy = policies.build(arms, "Residual")["isolated"]
    obs, wrapped = policies.observations("Residual", 7), Wrapper(policy)
    bare, around = (proof.prove(p, functools.partial(p, obs)) for p in (policy, wrapped))
    assert bare.differences(around) == ["opcodes", "code"]
