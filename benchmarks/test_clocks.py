"""The clocks, of CUDA on a device that only keeps time, so that they are tested without one."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import clocks


class Device:
    """Runs what it is told at 2 cycles a nanosecond."""

    def __init__(self) -> None:
        self.ns = 0.0
        self.sleeps: list[float] = []

    def _sleep(self, cycles: int) -> None:
        self.sleeps.append(cycles)
        self.ns += cycles / 2

    def Event(self, enable_timing: bool) -> Any:  # noqa: N802
        assert enable_timing
        event = SimpleNamespace(at=0.0)
        event.record = lambda: setattr(event, "at", self.ns)
        event.elapsed_time = lambda end: (end.at - event.at) / 1e6
        return event


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    monkeypatch.setattr(clocks, "_cuda", made)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    clocks._cycles_per_ns.cache_clear()
    return made


def test_events_tell_the_time_of_the_device(device: Device) -> None:
    clock = next(clock for clock in clocks.CLOCKS["cuda"] if clock.name == "events")
    policy = lambda obs: device._sleep(1000)  # noqa: E731
    obs = torch.zeros(1)
    plain, slowed = clock.prepare(policy, obs), clock.slowed(policy, obs, 100)
    assert clock.time(plain, 7) == pytest.approx((500,))
    assert clock.time(slowed, 7) == pytest.approx((600,))


def test_a_launch_is_timed_on_the_host(device: Device) -> None:
    clock = next(clock for clock in clocks.CLOCKS["cuda"] if clock.name == "launch")
    calls: list[int] = []
    (spent,) = clock.time(lambda: calls.append(1), 1000)
    assert spent > 0
    assert len(calls) == 100


def test_the_host_is_read_by_two_clocks() -> None:
    (clock,) = clocks.CLOCKS["cpu"]
    cpu, wall = clock.time(lambda: time.sleep(0.02), 1)
    assert clock.readings == ("cpu", "wall")
    assert wall >= 0.02e9
    assert cpu < wall


def test_what_is_planted_is_work_before_the_policy() -> None:
    (clock,) = clocks.CLOCKS["cpu"]
    seen: list[int] = []
    clock.slowed(lambda obs: seen.append(1), torch.zeros(1), 1000)()
    assert len(seen) == clocks.WARM_UP + 1


@pytest.mark.parametrize("clock", [c for found in clocks.CLOCKS.values() for c in found])
def test_a_verdict_rests_on_the_reading_that_names_the_clock(clock: clocks.Clock) -> None:
    assert clock.name == clock.readings[0]
