"""`prefetch` on every node of a Ray cluster: one reads from git, each other takes what it read.

Exactly one task runs on each node. Ray is imported when it is asked for, and by nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from codevault.checkpointcode import open_cache
from codevault.cluster import node
from codevault.cluster.parcel import carried
from codevault.cluster.reports import NodeReport, NodesReport
from codevault.errors import CodevaultError, FetchError
from codevault.prefetching import checked, sought, workers
from codevault.prefetchrun import EXPECTED, Supplier, failed
from codevault.version import VERSION
from codevault_cache import environ

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

    from codevault.prefetchgroups import Look
    from codevault.prefetchrun import PrefetchItem
    from codevault.trust import Trust

SECONDS: Final = 600.0
"""Deadline for all nodes together."""

_READERS: Final = 3
"""Nodes that are asked to read before it is given up: the server must not meet all of them."""

_NOTHING: Final = "no node that was asked could have the code"
_GONE: Final = "the node is gone"
_KNOCK_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 30.0
"""Longest wait for an answer that is there: the machine that has it may go."""


def prefetch(
    uris: Iterable[str | os.PathLike[str]],
    address: str,
    *,
    seconds: float = SECONDS,
    jobs: int | None = None,
    trust: Trust = None,
    pin: str = "",
    step: Callable[[NodeReport], None] | None = None,
) -> NodesReport:
    """Has the code of checkpoints in the cache of every node, compiled.

    This machine reads the manifests, and needs to reach the checkpoints; the nodes do not. One node
    has the code from git, and publishes it to `CODEVAULT_MIRROR`, or to Ray's object store if that
    is not set. The caches are those that the nodes' own `CODEVAULT_CACHE` names. Nodes that join
    meanwhile are served too.

    Args:
        uris: As for `codevault.prefetch`.
        address: Of the cluster, as `ray.init` takes it: "auto", "host:6379", "ray://host:10001".
        seconds: When nodes that have not answered are late.
        jobs: As for `codevault.prefetch`.
        trust: As for `codevault.prefetch`; the nodes need no grants to prefetch.
        pin: As for `codevault.prefetch`.
        step: Called with each node when it is done.

    Raises:
        FetchError: There is no cluster at the address.
        CodevaultError: Ray is not installed here, or `pin` cannot be a name.
    """
    checked(pin)
    failures: list[PrefetchItem] = []
    seeker = Supplier(open_cache(None), step=failures.append)
    with workers(jobs, seeker) as pool:
        _, looks = sought(uris, trust, pool, seeker)
        orders = [packed for packed in pool.map(partial(_packed, seeker), looks) if packed]
    with _cluster(address) as ray:
        job = _Job(ray, time.monotonic() + seconds, step)
        if orders:
            parcel = job.parcel(orders, environ.mirror() or "", jobs, pin)
            job.serve(parcel, "mirror" if environ.mirror() else "object store", pin)
    return NodesReport(tuple(failures), tuple(job.done.values()))


def _packed(seeker: Supplier, seen: Look) -> Look | None:
    start = time.perf_counter()
    try:
        return carried(seen)
    except EXPECTED as error:  # its own objects are damaged
        seeker.done(failed(seen.uri, error, start))
        return None


@contextlib.contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """Ray, connected; a connection that this process already has is used, and left open."""
    try:
        import ray
    except ImportError as error:
        raise CodevaultError(
            "Ray is not installed here", str(error), "python -m pip install ray"
        ) from error
    if ray.is_initialized():
        yield ray
        return
    try:
        _reach(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ImportError as error:
        raise CodevaultError(
            f"{address} needs Ray's client", str(error), "python -m pip install 'ray[client]'"
        ) from error
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        why = str(error).strip().partition("\n")[0]
        raise FetchError(
            f"there is no Ray cluster at {address}", why, f"ray status --address {address}"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Knocks at an address: Ray goes on trying for minutes where nobody listens."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), _KNOCK_SECONDS).close()


@dataclass(frozen=True, slots=True)
class _Run:
    """A task on a node, and when it began."""

    id: str
    source: str
    begin: float


@dataclass(frozen=True, slots=True)
class _Job:
    """One prefetch on a cluster: what runs, and what became of each node by its id."""

    ray: Any
    deadline: float
    step: Callable[[NodeReport], None] | None
    done: dict[str, NodeReport] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def parcel(self, looks: list[Look], mirror: str, jobs: int | None, pin: str) -> Any:
        """Has one node read; another, where that one dies, is late, or can have nothing.

        Returns:
            The reference of the parcel; None if no node has anything.
        """
        for _ in range(_READERS):
            if not (waiting := self._waiting()):
                break
            run = _Run(waiting[0], "git", time.monotonic())
            report, parcel = self._task(run.id, 2, mirror).remote(
                VERSION, node.read, looks, mirror, jobs, pin
            )
            # Half of what is left, since another may have to do it.
            until = time.monotonic() + (self.deadline - time.monotonic()) / 2
            running = {report: run}
            while running:
                self._collect(running, until)
            found = self.done[run.id].report
            if found is not None and found.snapshots:
                return parcel
        return None

    def serve(self, parcel: Any, source: str, pin: str) -> None:
        """Has all other nodes take it, those that join meanwhile too."""
        running: dict[Any, _Run] = {}
        while parcel is not None:
            known = {run.id for run in running.values()}
            for each in self._waiting():
                if each not in known:
                    task = self._task(each, 1, "").remote(VERSION, node.take, parcel, pin)
                    running[task] = _Run(each, source, time.monotonic())
            if not running:
                break
            self._collect(running, self.deadline)
        alive = self._waiting()
        for each in [each for each in self.names if each not in self.done]:
            status, why = ("failed", _NOTHING) if each in alive else ("dead", _GONE)
            self._note(NodeReport(self.names[each], each, status, "", None, why, 0.0))

    def _waiting(self) -> list[str]:
        """The nodes that are alive and not done with; the head first."""
        alive = [found for found in self.ray.nodes() if found["Alive"]]
        alive.sort(key=lambda found: "node:__internal_head__" not in found["Resources"])
        self.names.update({found["NodeID"]: found["NodeManagerHostname"] for found in alive})
        return [found["NodeID"] for found in alive if found["NodeID"] not in self.done]

    def _task(self, where: str, returns: int, mirror: str) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(where, soft=False)
        # What is in the mirror already is read from there.
        settings = {"env_vars": {"CODEVAULT_MIRROR": mirror}} if mirror else None
        remote = self.ray.remote(num_cpus=0, max_retries=1)(node.act)
        return remote.options(num_returns=returns, scheduling_strategy=there, runtime_env=settings)

    def _collect(self, running: dict[Any, _Run], until: float) -> None:
        """Notes what is done, for a second at most; whoever runs longer than until then is late."""
        left = max(0.0, min(1.0, until - time.monotonic()))
        ready, _ = self.ray.wait(list(running), num_returns=len(running), timeout=left)
        for answer in ready:
            self._note(self._report(answer, running.pop(answer)))
        if time.monotonic() < until:
            return
        for answer, run in running.items():
            took = time.monotonic() - run.begin
            why = f"no answer within {took:.0f} s"
            self._note(NodeReport(self.names[run.id], run.id, "late", run.source, None, why, took))
            self.ray.cancel(answer, force=True)
        running.clear()

    def _report(self, answer: Any, run: _Run) -> NodeReport:
        from ray import exceptions

        report, error, status = None, "", "ready"
        try:
            report = self.ray.get(answer, timeout=_ANSWER_SECONDS)
            status = "failed" if report.failures else "ready"
        except exceptions.RayTaskError as caught:
            status, error = "failed", f"{type(caught.cause).__name__}: {caught.cause}"
        except exceptions.RayError as caught:
            gone = (exceptions.NodeDiedError, exceptions.TaskUnschedulableError)
            is_gone = isinstance(caught, gone) or run.id not in self._waiting()
            status = "dead" if is_gone else "failed"
            said = f"{type(caught).__name__}: {str(caught).strip().partition(chr(10))[0]}"
            error = _GONE if is_gone else said
        took = time.monotonic() - run.begin
        return NodeReport(self.names[run.id], run.id, status, run.source, report, error, took)

    def _note(self, done: NodeReport) -> None:
        self.done[done.id] = done
        if self.step is not None:
            self.step(done)
