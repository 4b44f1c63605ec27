"""The measurement of false alarms and misses can fail; and its page is what it measured."""

from __future__ import annotations

import copy
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch

from benchmarks import probe_alarms, probe_page
from benchmarks.probe_cases import Case, Lstm, Mlp, cases, change, swap

if TYPE_CHECKING:
    from pathlib import Path


def observe(batch: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(batch, 24, generator=generator)


NOTHING = change("heads.move.weight", lambda old: old)
FAULTS = {"swapped heads": swap("heads.move", "heads.turn"), "nothing": NOTHING}
CASE = Case("MLP, 2 layers of 256", Mlp, observe, FAULTS, dtypes=("float32",))


def test_faults_are_found_and_no_fault_is_a_miss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_alarms, "cases", lambda: [CASE])
    rows = probe_alarms.record(tmp_path, 1, [CASE])
    assert [row["batch"] for row in rows] == [1, 64]
    found = list(probe_alarms.planted(tmp_path, rows))
    assert [(row["fault"], row["ok"]) for row in found] == [
        ("swapped heads", False),
        ("nothing", True),
    ] * 2
    passed = list(probe_alarms.under("nothing changed", tmp_path))
    assert all(row["ok"] for row in passed)
    monkeypatch.setattr(probe_alarms, "_scatter", lambda policy: FAULTS["swapped heads"](policy))
    alarmed = list(probe_alarms.under("weights in another memory layout", tmp_path))
    assert not any(row["ok"] for row in alarmed)
    counted = probe_page.short({"planted": found, "alarms": {"a": alarmed, "b": passed}})
    assert [counted["alarms"][name]["alarms"] for name in "ab"] == [2, 0]
    wide = [counted["misses"][fault]["wide"] for fault in ("swapped heads", "nothing")]
    assert [(row["planted"], row["missed"]) for row in wide] == [(2, 0), (2, 2)]


def test_another_process_replays_the_same_probes(tmp_path: Path) -> None:
    rows = probe_alarms.record(tmp_path, 1, [CASE])
    found = probe_alarms.asked(tmp_path, "1 thread", [sys.executable])
    assert [(row["name"], row["ok"]) for row in found] == [(row["name"], True) for row in rows]


@pytest.mark.filterwarnings("ignore")
def test_each_fault_changes_the_policy_and_each_layout_leaves_it_equal() -> None:
    for case in cases():
        torch.manual_seed(0)
        policy = case.make()
        for fault, plant in case.faults.items():
            broken = copy.deepcopy(policy)
            plant(broken)
            assert _signature(broken) != _signature(policy), (case.name, fault)
        scattered = copy.deepcopy(policy)
        probe_alarms._scatter(scattered)
        for name, tensor in policy.state_dict().items():
            assert torch.equal(tensor, scattered.state_dict()[name])


def _signature(policy: Any) -> Any:
    state = {name: tensor.tolist() for name, tensor in policy.state_dict().items()}
    facts = [
        value
        for module in policy.modules()
        for name, value in sorted(vars(module).items())
        if type(value) in (bool, float) and name != "training"
    ]
    return repr(policy), state, facts


def test_memory_is_lost_by_the_fault_of_that_name() -> None:
    policy = Lstm()
    policy.forgets = True
    obs = torch.ones(1, 24)
    with torch.no_grad():
        assert torch.equal(policy(obs)["value"], policy(obs)["value"])
        policy.forgets = False
        assert not torch.equal(policy(obs)["value"], policy(obs)["value"])


def test_the_page_is_what_was_measured() -> None:
    results = json.loads(probe_alarms.RESULTS.read_text())
    assert probe_page.PAGE.read_text() == probe_page.page(results)
