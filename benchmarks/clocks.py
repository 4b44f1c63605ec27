"""The clocks of a forward pass, and how each slows an arm down by a fixed time."""

from __future__ import annotations

import contextlib
import functools
import itertools
import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Call = Callable[[], Any]

WARM_UP = 10
STEPS = 20_000
"""Of the loop that slows an arm down, to see how fast it runs: a tenth of a millisecond."""
_cuda: Any = torch.cuda  # parts of it have no types


@dataclass(frozen=True, slots=True)
class Clock:
    """One way to time a policy.

    Attributes:
        readings: What it reads at once; verdicts rest on the first, whose name the clock has.
        prepare: Makes a warmed-up call of a policy on observations.
        time: Nanoseconds of one call, over so many, as each reading has it.
        slowed: As `prepare`, of a policy that also works about so many nanoseconds.
        slice_us: How long one timing lasts, at least. On the host as short as one call: then most
            are hit by no neighbour, and a median knows nothing of the others.
    """

    readings: tuple[str, ...]
    prepare: Callable[[Any, torch.Tensor], Call]
    time: Callable[[Call, int], tuple[float, ...]]
    slowed: Callable[[Any, torch.Tensor, float], Call]
    slice_us: float = 0

    @property
    def name(self) -> str:
        return self.readings[0]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread for operators on the CPU, and no search for the fastest convolution."""
    threads, searched = torch.get_num_threads(), torch.backends.cudnn.benchmark
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = searched


def driver() -> str:
    """The version of the NVIDIA driver; empty if the driver's tool does not tell."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.partition("\n")[0].strip()


# -- on the host ----------------------------------------------------------------------------------


def _plain(policy: Any, obs: torch.Tensor) -> Call:
    def call() -> None:
        policy(obs)

    return _warmed(call)


def _working(policy: Any, obs: torch.Tensor, extra_ns: float) -> Call:
    # Work and not a wait for some time: where the machine runs slower, it takes longer as the
    # policy does, and stays the same share.
    steps = round(extra_ns * _steps_per_ns())

    def call() -> None:
        for _ in itertools.repeat(None, steps):
            pass
        policy(obs)

    return _warmed(call)


@functools.cache  # about right is enough, but the same for all plants of a process
def _steps_per_ns() -> float:
    def run() -> None:
        for _ in itertools.repeat(None, STEPS):
            pass

    return STEPS / statistics.median(_host(run, 1)[0] for _ in range(25))


def _warmed(call: Call) -> Call:
    for _ in range(WARM_UP):
        call()
    return call


def _host(call: Call, inner: int) -> tuple[float, float]:
    """By the thread's CPU time, of which neighbours take none, and by the wall clock."""
    cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
    for _ in range(inner):
        call()
    wall = time.perf_counter_ns() - wall
    return (time.thread_time_ns() - cpu) / inner, wall / inner


# -- on a CUDA device -----------------------------------------------------------------------------


def _launch(call: Call, inner: int) -> tuple[float]:
    torch.cuda.synchronize()
    inner = min(inner, 100)  # beyond some 1,000 launches the host waits for the device
    _, wall = _host(call, inner)
    torch.cuda.synchronize()
    return (wall,)


def _events(call: Call, inner: int) -> tuple[float]:
    begin, end = (_cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    for _ in range(inner):
        call()
    end.record()
    torch.cuda.synchronize()
    return (float(begin.elapsed_time(end)) * 1e6 / inner,)


def _sleeping(policy: Any, obs: torch.Tensor, extra_ns: float) -> Call:
    # Where the launches take longer than the kernels, the device idles: work on the device alone
    # would hide in that, and on the host in the kernels. So both have more to do.
    cycles, steps = round(extra_ns * _cycles_per_ns()), round(extra_ns * _steps_per_ns())

    def call() -> None:
        _cuda._sleep(cycles)
        for _ in itertools.repeat(None, steps):
            pass
        policy(obs)

    return _warmed(call)


@functools.cache
def _cycles_per_ns() -> float:
    cycles = 10_000_000
    _cuda._sleep(cycles)
    return cycles / min(_events(lambda: _cuda._sleep(cycles), 3)[0] for _ in range(3))


def _graph(policy: Any, obs: torch.Tensor) -> Call:
    return captured(lambda: policy(obs))


def _sleeping_graph(policy: Any, obs: torch.Tensor, extra_ns: float) -> Call:
    cycles = round(extra_ns * _cycles_per_ns())

    def run() -> None:
        _cuda._sleep(cycles)
        policy(obs)

    return captured(run)


def captured(run: Call) -> Call:
    side = _cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return _warmed(graph.replay)


CLOCKS: Final = {
    "cpu": (Clock(("cpu", "wall"), _plain, _host, _working),),
    "cuda": (
        Clock(("events",), _plain, _events, _sleeping, 1500),
        Clock(("launch",), _plain, _launch, _working, 1500),
        Clock(("graph",), _graph, _events, _sleeping_graph, 1500),
    ),
}
