"""Save, change the code, load the old policy beside the new."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch

import codevault
from codevault.errors import (
    BuildError,
    CaptureError,
    CheckpointError,
    CodeError,
    CodevaultError,
    FetchError,
    LegacyFormError,
    ProbeError,
    ProbeWarning,
    StateDictError,
    WeightsDigestError,
)

if TYPE_CHECKING:
    from pathlib import Path

OBS = torch.linspace(-1, 1, 12).reshape(3, 4)
ARCHITECTURE = {"class_path": "walker.net:Walker", "kwargs": {"inputs": 4, "actions": 2}}


def save(path: Path, policy: Any, **more: Any) -> Any:
    return codevault.save_policy(
        path / "best.mpt", policy, **{"architecture": ARCHITECTURE, "probe": OBS, **more}
    )


def loaded(top: str) -> set[str]:
    return {name for name in sys.modules if name.partition(".")[0] == top}


def test_old_policy_runs_beside_the_new_code(walker: Any, tmp_path: Path) -> None:
    policy = walker.net.Walker()
    manifest = save(tmp_path, policy)
    new = walker.refactor()
    before = loaded("walker")

    old = codevault.load_policy(tmp_path / "best.mpt")

    assert manifest.commit == walker.head
    assert manifest.modules == ("walker", "walker.net", "walker.scale")
    assert torch.equal(old(OBS), policy(OBS))
    splint = codevault.provenance(old).splint
    assert splint is not None
    assert type(old).__module__ == f"{splint.name}.walker.net"
    assert splint.name.startswith(f"_splint_{walker.head[:12]}_")
    assert sorted(splint.modules) == ["walker", "walker.net", "walker.scale"]
    assert loaded("walker") == before
    assert sys.modules["walker.net"] is new
    assert codevault.provenance(old).manifest == manifest
    assert codevault.provenance(old).probe.ok  # type: ignore[union-attr]


def test_second_load_is_the_same_splint(walker: Any, tmp_path: Path) -> None:
    save(tmp_path, walker.net.Walker())
    one, two = (codevault.load_policy(tmp_path / "best.mpt") for _ in range(2))
    assert type(one) is type(two)
    assert one is not two
    assert codevault.DynamicAgentLoader.from_mpt(tmp_path / "best.mpt").__class__ is type(one)


def test_current_code_fails_on_old_names_and_says_what_works(walker: Any, tmp_path: Path) -> None:
    save(tmp_path, walker.net.Walker())
    walker.refactor()
    with pytest.raises(BuildError, match="does not take the recorded arguments"):
        codevault.load_policy(tmp_path / "best.mpt", code="current")
    save(tmp_path, walker.net.Walker(), architecture={"class_path": walker.net.Walker})


def test_current_code_with_other_keys_gives_the_diagnosis(walker: Any, tmp_path: Path) -> None:
    save(tmp_path, walker.net.Walker(), architecture={"class_path": "walker.net:Walker"})
    walker.refactor()
    with pytest.raises(StateDictError) as caught:
        codevault.load_policy(tmp_path / "best.mpt", code="current")
    for line in ("keys: body.* -> encoder.*", "keys: head.* -> actor.*", "scale"):
        assert line in f"{caught.value}{caught.value.diagnosis}"


def test_current_code_that_behaves_otherwise_is_a_probe_mismatch(
    walker: Any, tmp_path: Path
) -> None:
    save(tmp_path, walker.net.Walker(), architecture={"class_path": "walker.net:Walker"})
    walker.commit({"src/walker/scale.py": "SCALE = 3.0\n"})
    walker.load("walker.net")
    with pytest.raises(ProbeError, match="scale"):
        codevault.load_policy(tmp_path / "best.mpt", code="current")
    policy = codevault.load_policy(tmp_path / "best.mpt", code="current", probe=False)
    assert codevault.provenance(policy).splint is None


def test_code_may_be_a_splint(walker: Any, tmp_path: Path) -> None:
    policy = walker.net.Walker()
    save(tmp_path, policy)
    splint = codevault.load_code(walker.top, walker.head)
    old = codevault.load_policy(tmp_path / "best.mpt", code=splint, trust=[])
    assert torch.equal(old(OBS), policy(OBS))
    assert isinstance(old, splint.load_symbol("walker.net:Walker"))
    assert isinstance(old, splint.load_symbol("walker.net.Walker"))


def test_no_probe_is_a_warning(walker: Any, tmp_path: Path) -> None:
    save(tmp_path, walker.net.Walker(), probe=None)
    with pytest.warns(ProbeWarning, match="no probe"):
        codevault.load_policy(tmp_path / "best.mpt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codevault.load_policy(tmp_path / "best.mpt", probe=False)


def test_loading_leaves_random_numbers_as_they_were(walker: Any, tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    save(tmp_path, policy := _seeded(walker.net))
    codevault.load_policy(tmp_path / "best.mpt")
    assert torch.equal(torch.rand(3), expected)
    del policy


def _seeded(net: Any) -> Any:
    with torch.random.fork_rng():
        return net.Walker()


def test_loaded_policy_is_saved_again_with_its_origin(walker: Any, tmp_path: Path) -> None:
    first = save(tmp_path, walker.net.Walker())
    old = codevault.load_policy(tmp_path / "best.mpt")
    with torch.no_grad():
        old.head.bias += 1
    again = codevault.save_policy(tmp_path / "again.mpt", old, probe=OBS)
    assert (again.commit, again.digest, again.roots) == (first.commit, first.digest, first.roots)
    assert again.architecture == first.architecture
    assert again.weights != first.weights
    assert "_splint_" not in again.to_json().decode()
    newer = codevault.load_policy(tmp_path / "again.mpt")
    assert torch.equal(newer(OBS), old(OBS))
    assert type(newer) is type(old)


def test_own_module_missing_names_what_is_near(walker: Any, tmp_path: Path) -> None:
    splint = codevault.load_code(walker.top, walker.head)
    with pytest.raises(ModuleNotFoundError, match=r"near: walker\.scale") as caught:
        splint.import_module("walker.scales")
    assert caught.value.name == "walker.scales"
    with pytest.raises(CodeError, match="not a module of"):
        splint.import_module("os")
    with pytest.raises(CodeError, match="Runner"):
        splint.load_symbol("walker.net:Runner")


def test_class_path_reaches_nothing_but_own_code(walker: Any, tmp_path: Path) -> None:
    for path in ("os:system", "builtins:eval", "torch:load", "subprocess.run"):
        with pytest.raises((CaptureError, CodeError)):
            save(tmp_path, walker.net.Walker(), architecture={"class_path": path, "args": ["true"]})
    splint = codevault.load_code(walker.top, walker.head)
    for path in ("os:system", "torch:load", "subprocess.run"):
        with pytest.raises(CodeError):
            splint.load_symbol(path)


def test_errors_say_what_and_do(walker: Any, tmp_path: Path) -> None:
    good = tmp_path / "best.mpt"
    save(tmp_path, walker.net.Walker())
    data = good.read_bytes()
    cases: list[tuple[bytes, type[CodevaultError]]] = [
        (b"no zip at all\n" * 9, CheckpointError),
        (data[: len(data) // 2], CheckpointError),
        (data.replace(b'"format": 1', b'"format": 7'), CheckpointError),
    ]
    for content, kind in cases:
        good.write_bytes(content)
        with pytest.raises(kind) as caught:
            codevault.load_policy(good)
        assert caught.value.what
        assert caught.value.hint
    torch.save({"a": 1}, tmp_path / "old.pt")
    with pytest.raises(LegacyFormError, match="codevault convert"):
        codevault.load_policy(tmp_path / "old.pt")


def test_changed_weights_are_noticed(walker: Any, tmp_path: Path) -> None:
    policy = walker.net.Walker()
    save(tmp_path, policy)
    raw = policy.body.weight.detach().numpy().tobytes()
    data = bytearray((tmp_path / "best.mpt").read_bytes())
    at = data.index(raw)
    data[at] ^= 1
    (tmp_path / "best.mpt").write_bytes(data)
    with pytest.raises(WeightsDigestError):
        codevault.load_policy(tmp_path / "best.mpt")


def test_commit_found_nowhere(walker: Any) -> None:
    with pytest.raises(FetchError) as caught:
        codevault.load_code(walker.top, "0" * 40)
    assert caught.value.reference == "commit-not-found"
    with pytest.raises(CodevaultError, match="full commit"):
        codevault.load_code(walker.top, "main")
    with pytest.raises(CodevaultError, match="full commit"):
        codevault.load_code(walker.top, walker.head[:10])


def test_provenance_of_a_stranger() -> None:
    with pytest.raises(CodevaultError, match="nothing is known"):
        codevault.provenance(torch.nn.Linear(1, 1))


@pytest.mark.parametrize("collected", [False, True], ids=["kept", "collected"])
def test_late_imports_work_after_a_load_let_go_of_the_compiled_code(
    project: Any, tmp_path: Path, collected: bool
) -> None:
    late = "import torch\nclass Net(torch.nn.Linear):\n"
    late += "    def __init__(self): super().__init__(4, 2)\n"
    late += "    def extra(self):\n        from gait.late import V\n        return V\n"
    files = {"src/gait/__init__.py": "", "src/gait/net.py": late, "src/gait/late.py": "V = 7\n"}
    splint = codevault.load_code(project.top, project.commit(files))
    path, cache = tmp_path / "best.mpt", tmp_path / "cache"
    codevault.save_policy(path, splint.load_symbol("gait.net:Net")(), probe=torch.ones(1, 4))
    splint.unload()
    policy = codevault.load_policy(path, cache=cache)
    (code,) = (cache / "v1" / "code").rglob("*.cvc")
    loaded = codevault.provenance(policy).splint
    assert loaded is not None
    assert loaded._mount._pack is None
    if collected:
        code.unlink()
    assert policy.extra() == 7
