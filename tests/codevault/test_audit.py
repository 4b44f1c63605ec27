"""[audit] Each planted change is found, told, and put back; a clean policy gives no finding."""

from __future__ import annotations

import asyncio  # noqa: F401 - a first import meanwhile would take the blame
import gc
import multiprocessing.reduction  # noqa: F401
import os
import resource  # noqa: F401
import sys
import threading
import time
import types
import warnings
import weakref
from typing import TYPE_CHECKING

import gymnasium
import matplotlib  # noqa: F401
import numpy
import pytest
import tensordict.nn  # noqa: F401
import torch
import yaml  # noqa: F401

from codevault import audit
from codevault.audits import patches
from codevault.errors import AuditWarning
from tests.codevault.audit_cases import CLEAN, LASTING, RESULTS, STATE, Planter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def planter(tmp_path: Path) -> Iterator[Planter]:
    planter = Planter(tmp_path)
    yield planter
    planter.forget()


@pytest.mark.parametrize("case", sorted(RESULTS))
def test_audit_finds_what_changes_results(case: str, planter: Planter) -> None:
    name, text = RESULTS[case]
    found = planter.plant(text)
    stuck = found.restore()
    assert [(f.name, f.changes_results) for f in found.findings] == [(name, True)]
    assert not stuck
    assert not planter.look_again()


@pytest.mark.parametrize("case", sorted(STATE))
def test_audit_finds_other_state(case: str, planter: Planter) -> None:
    name, text = STATE[case]
    found = planter.plant(text)
    stuck = found.restore()
    assert [(f.name, f.changes_results) for f in found.findings] == [(name, False)]
    assert not stuck
    assert not planter.look_again()


@pytest.mark.parametrize("case", sorted(LASTING))
def test_audit_finds_what_nothing_can_put_back(case: str, planter: Planter) -> None:
    name, text = LASTING[case]
    found = planter.plant(text)
    stuck = found.restore()
    planter.undo()
    assert [f.name for f in found.findings] == [name]
    assert stuck == (f"{name}: nothing can put it back",)


@pytest.mark.parametrize("case", sorted(CLEAN))
def test_audit_of_a_clean_policy_finds_nothing(case: str, planter: Planter) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = planter.plant(CLEAN[case])
    assert not found.findings


def test_audit_puts_the_time_zone_back_after_its_variable(planter: Planter) -> None:
    was = time.tzname
    found = planter.plant("import os, time; os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()")
    assert {f.name for f in found.findings} == {"environment variables", "time zone"}
    assert found.restore() == ()
    assert time.tzname == was


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor")
def test_audit_finds_processor_affinity(planter: Planter) -> None:
    found = planter.plant("import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})")
    assert [f.name for f in found.findings] == ["processor affinity"]
    assert found.restore() == ()
    assert not planter.look_again()


# Packages that not every machine has: what of each the audit reads, and what its registry is.
STAND_INS: dict[str, tuple[str, str, str]] = {
    "OmegaConf resolvers": (
        "omegaconf.basecontainer",
        "class BaseContainer:\n    _resolvers = {}",
        "BaseContainer._resolvers",
    ),
    "hydra configurations": (
        "hydra.core.config_store",
        "class ConfigStore:\n    repo = {}\n    instance = classmethod(lambda cls: cls)",
        "ConfigStore.repo",
    ),
    "timm models": ("timm.models._registry", "_model_entrypoints = {}", "_model_entrypoints"),
    "transformers configurations": (
        "transformers.models.auto.configuration_auto",
        "class CONFIG_MAPPING:\n    _extra_content = {}",
        "CONFIG_MAPPING._extra_content",
    ),
    "gym environments": (
        "gym.envs.registration",
        "class registry:\n    env_specs = {}",
        "registry.env_specs",
    ),
    "optree nodes": ("optree.registry", "_NODETYPE_REGISTRY = {}", "_NODETYPE_REGISTRY"),
}


@pytest.mark.parametrize("name", sorted(STAND_INS))
def test_audit_reads_registries_of_other_packages(
    name: str, planter: Planter, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, text, registry = STAND_INS[name]
    stand_in = types.ModuleType(module)
    exec(text, vars(stand_in))
    monkeypatch.setitem(sys.modules, module, stand_in)
    found = planter.plant(f"import sys; sys.modules[{module!r}].{registry}['mine'] = str")
    assert [(f.name, f.after) for f in found.findings] == [(name, "mine: builtins.str")]
    assert bool(found.restore()) is (name == "optree nodes")


def test_audit_checks_can_all_be_read_here() -> None:
    """A check that fails is passed over in use: another version of a library may lack the state."""
    checks = (*audit._CHECKS, *patches.sweep(()))
    for check in checks:
        if check.module in sys.modules:
            check.read(sys.modules[check.module])
    assert len({check.name for check in checks}) == len(checks) > 90


# -- random numbers -------------------------------------------------------------------------------


def test_audit_takes_drawing_for_no_change(planter: Planter) -> None:
    torch.manual_seed(3)
    text = """
        import random, numpy, torch
        [random.gauss(0, 1) for _ in range(3000)]
        numpy.random.normal(size=1 << 19)
        torch.nn.Linear(300, 300)
        torch.randn(1 << 20)
    """
    assert not planter.plant(text)


@pytest.mark.parametrize("drawn", [1, 10, 1000, 10_000])
@pytest.mark.parametrize("after", [0, 1, 700])
def test_audit_sees_the_same_seed_again(drawn: int, after: int, planter: Planter) -> None:
    torch.manual_seed(3)
    torch.rand(drawn)
    found = planter.plant(f"import torch; torch.manual_seed(3); torch.rand({after})")
    # Numbers that end where they were before cannot be told from none.
    assert [f.name for f in found.findings] == (["torch's random numbers"] if after < drawn else [])


def test_audit_takes_a_generator_that_was_put_back_for_no_change(planter: Planter) -> None:
    text = "import torch\nwith torch.random.fork_rng():\n    torch.manual_seed(3)"
    assert not planter.plant(text)


def test_audit_says_which_seed_and_that_the_load_puts_it_back(planter: Planter) -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    found = planter.plant("import torch; torch.manual_seed(7)", kept=(audit.RANDOM,))
    assert str(*found.findings) == "torch's random numbers: seed 3 -> seed 7 (put back)"
    assert not found.findings[0].changes_results
    assert found.restore() == ()
    assert torch.initial_seed() == 7, "the one that keeps them puts them back"
    torch.set_rng_state(state)


# -- what is told, and what is put back -----------------------------------------------------------


def test_audit_tells_names_of_variables_and_never_their_values(
    planter: Planter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLD_KEY", "hunter1")
    text = (
        "import os; os.environ.update(NEW_KEY='hunter2', OLD_KEY='hunter3'); del os.environ['PATH']"
    )
    found = planter.plant(text)
    assert not found.restore()
    (finding,) = found.findings
    assert finding.before == "PATH set, OLD_KEY set, NEW_KEY not set"
    assert finding.after == "PATH removed, OLD_KEY changed, NEW_KEY set"
    assert "hunter" not in repr(found)
    assert "NEW_KEY" not in os.environ


def test_audit_tells_old_code_by_its_original_names(planter: Planter) -> None:
    found = planter.plant("import torch\ndef to(self): pass\ntorch.nn.Module.to = to")
    found.restore()
    (finding,) = found.findings
    assert finding.before == "torch.nn.modules.Module.to: torch.nn.modules.module.Module.to"
    assert finding.after == "torch.nn.modules.Module.to: planted0.to"


def test_audit_leaves_what_was_changed_again_since(planter: Planter) -> None:
    found = planter.plant("import torch; torch.set_default_dtype(torch.float64)")
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert found.restore() == ("torch default dtype: it was changed again since",)
        assert torch.get_default_dtype() is torch.bfloat16
        torch.set_default_dtype(torch.float32)
        assert found.restore() == ()
    finally:
        torch.set_default_dtype(torch.float32)


def test_audit_puts_back_two_loads_in_one_go(planter: Planter) -> None:
    first = planter.plant("import torch; torch.set_default_dtype(torch.float64)")
    second = planter.plant("import torch; torch.set_default_dtype(torch.bfloat16)")
    assert (first + second).restore() == ()
    assert torch.get_default_dtype() is torch.float32


def test_audit_says_why_something_could_not_be_put_back(planter: Planter) -> None:
    found = planter.plant("import signal; signal.signal(signal.SIGUSR2, lambda *a: None)")
    seen: list[tuple[str, ...]] = []
    thread = threading.Thread(target=lambda: seen.append(found.restore()))
    thread.start()
    thread.join()
    assert "main thread" in seen[0][0]
    assert found.restore() == ()


def test_audit_keeps_no_old_code_alive(planter: Planter) -> None:
    found = planter.plant("import torch\ndef to(self): pass\ntorch.nn.Module.to = to")
    to = weakref.ref(torch.nn.Module.to)
    found.restore()
    planter.forget()
    gc.collect()
    assert found.findings
    assert to() is None


def test_audit_puts_a_default_device_of_meta_back_at_once(planter: Planter) -> None:
    found = planter.plant("import torch; torch.set_default_device('meta')")
    assert torch.zeros(1).device.type == "cpu"
    (finding,) = found.findings
    assert (finding.after, finding.is_restored, finding.changes_results) == ("meta", True, False)
    assert found.restore() == ()


def test_audit_warns_once_of_what_changes_results(planter: Planter) -> None:
    found = planter.plant(
        "import os, torch; torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False)\n"
        "os.environ['NEW_KEY'] = 'x'"
    )
    found.restore()
    with pytest.warns(AuditWarning) as caught:
        audit.warn(found, "splint.audit.restore()", stacklevel=1)
    (warning,) = caught
    assert warning.filename == __file__
    text = str(warning.message)
    assert "torch default dtype: torch.float32 -> torch.float64" in text
    assert "torch gradients: True -> False" in text
    assert "NEW_KEY" not in text
    assert text.endswith("Put it back: splint.audit.restore()")


def test_audit_does_not_warn_of_other_state(planter: Planter) -> None:
    found = planter.plant("import os; os.environ['NEW_KEY'] = 'x'")
    found.restore()
    audit.warn(found, "")
    audit.warn(audit.Audit(), "")


def test_audit_survives_values_that_cannot_be_compared(planter: Planter) -> None:
    """Arrays inside a tuple have no truth value."""
    gymnasium.registry["Array-v0"] = (numpy.zeros(2),)  # type: ignore[assignment]
    try:
        text = "import gymnasium, numpy\ngymnasium.registry['Array-v0'] = (numpy.zeros(2),)"
        (finding,) = planter.plant(text).findings
        assert finding.name == "gymnasium environments"
    finally:
        del gymnasium.registry["Array-v0"]


def test_audit_of_many_loads_tells_a_thing_once() -> None:
    finding = audit.Finding("a", "b", "1", "2", changes_results=False, restorable=False)
    total = audit.Audit()
    for _ in range(3):
        total += audit.Audit((finding,))
    assert total.findings == (finding,)


# -- watching -------------------------------------------------------------------------------------

NAME = "_splint_cccccccccccc_dddddddddddd"


def test_audit_watches_a_block_and_keeps_what_it_found() -> None:
    try:
        with audit.watching(NAME) as watch:
            assert not watch.audit
            torch.set_default_dtype(torch.float64)
        assert [f.name for f in watch.audit.findings] == ["torch default dtype"]
        with audit.watching(NAME) as again:
            torch.set_num_threads(torch.get_num_threads() + 1)
        assert [f.name for f in again.audit.findings] == ["torch threads"]
        assert [f.name for f in audit.of(NAME).findings] == ["torch default dtype", "torch threads"]
    finally:
        assert audit.of(NAME).restore() == ()
        audit.forget(NAME)
    assert torch.get_default_dtype() is torch.float32
    assert not audit.of(NAME)


def test_audit_watches_once_where_blocks_are_nested() -> None:
    with audit.watching(NAME) as outer, audit.watching(NAME) as inner:
        torch.set_default_dtype(torch.float64)
    assert not inner.audit
    assert outer.audit
    assert audit.of(NAME).restore() == ()
    audit.forget(NAME)


def test_audit_watches_code_that_raises() -> None:
    def fail() -> None:
        with audit.watching(NAME):
            torch.set_default_device("meta")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [f.after for f in audit.of(NAME).findings] == ["meta"]
    assert torch.zeros(1).device.type == "cpu"
    audit.forget(NAME)


def test_audit_settles_meta_inside_the_block() -> None:
    with audit.watching(NAME) as watch:
        torch.set_default_device("meta")
        watch.settle()
        assert torch.zeros(1).device.type == "cpu"
    assert [(f.after, f.is_restored) for f in watch.audit.findings] == [("meta", True)]
    audit.forget(NAME)


def test_audit_watches_nothing_without_a_splint() -> None:
    with audit.watching(None) as watch:
        torch.set_default_dtype(torch.float64)
    torch.set_default_dtype(torch.float32)
    watch.settle()
    assert not watch.audit
