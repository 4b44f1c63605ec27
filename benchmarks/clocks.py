"""The clocks of a forward pass, and how each slows an arm down by a fixed time."""

from __future__ import annotations

import contextlib
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Call = Callable[[], Any]

WARM_UP = 20
_cuda: Any = torch.cuda  # parts of it have no types


@dataclass(frozen=True, slots=True)
class Clock:
    """One way to time a policy.

    Attributes:
        name: What is timed.
        prepare: Makes a warmed-up call of a policy on observations.
        time: Nanoseconds of one call, over so many.
        slowed: As `prepare`, of a policy that also waits so many nanoseconds, as this clock sees.
    """

    name: str
    prepare: Callable[[Any, torch.Tensor], Call]
    time: Callable[[Call, int], float]
    slowed: Callable[[Any, torch.Tensor, float], Call]


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


def _waiting(policy: Any, obs: torch.Tensor, wait_ns: float) -> Call:
    clock = time.perf_counter_ns

    def call() -> None:
        end = clock() + wait_ns
        while clock() < end:
            pass
        policy(obs)

    return _warmed(call)


def _warmed(call: Call) -> Call:
    for _ in range(WARM_UP):
        call()
    return call


def _host(call: Call, inner: int) -> float:
    start = time.perf_counter_ns()
    for _ in range(inner):
        call()
    return (time.perf_counter_ns() - start) / inner


# -- on a CUDA device -----------------------------------------------------------------------------


def _launch(call: Call, inner: int) -> float:
    torch.cuda.synchronize()
    inner = min(inner, 100)  # beyond some 1,000 launches the host waits for the device
    spent = _host(call, inner)
    torch.cuda.synchronize()
    return spent


def _events(call: Call, inner: int) -> float:
    begin, end = (_cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    for _ in range(inner):
        call()
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end)) * 1e6 / inner


def _sleeping(policy: Any, obs: torch.Tensor, wait_ns: float) -> Call:
    # Where the launches take longer than the kernels, the device idles: a wait on the device alone
    # would hide in that, and one on the host in the kernels. So both wait.
    cycles = round(wait_ns * _cycles_per_ns())
    clock = time.perf_counter_ns

    def call() -> None:
        end = clock() + wait_ns
        _cuda._sleep(cycles)
        while clock() < end:
            pass
        policy(obs)

    return _warmed(call)


def _cycles_per_ns() -> float:
    cycles = 10_000_000
    _cuda._sleep(cycles)
    return cycles / min(_events(lambda: _cuda._sleep(cycles), 3) for _ in range(3))


def _graph(policy: Any, obs: torch.Tensor) -> Call:
    return captured(lambda: policy(obs))


def _sleeping_graph(policy: Any, obs: torch.Tensor, wait_ns: float) -> Call:
    cycles = round(wait_ns * _cycles_per_ns())

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
    "cpu": (Clock("wall", _plain, _host, _waiting),),
    "cuda": (
        Clock("events", _plain, _events, _sleeping),
        Clock("launch", _plain, _launch, _waiting),
        Clock("graph", _graph, _events, _sleeping_graph),
    ),
}
