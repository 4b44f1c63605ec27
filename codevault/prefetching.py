"""The public `prefetch`: has the code of many checkpoints in the cache before a run."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from codevault.batches import Look, ahead, have, look, present
from codevault.downloads import fetched
from codevault.errors import CheckpointError, CodevaultError, FetchError
from codevault.supply import CachePath, opened, translated
from codevault.targets import commit_of, targets
from codevault.uri import local_path, shown
from codevault_cache import pins
from codevault_cache.errors import CacheError
from codevault_cache.paths import downloads
from codevault_cache.traffic import traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from codevault.trust import Trust
    from codevault_cache import Cache


@dataclass(frozen=True, slots=True)
class PrefetchItem:
    """What became of one URI.

    Attributes:
        uri: As it was given, or as a pattern or folder gave it.
        status: "hit" (nothing was fetched), "fetched", or "failed".
        splint: The name under which its code will be mounted; empty if it failed.
        error: Why it failed; None otherwise.
        seconds: Wall time from the start of its repository's turn until it was ready.
    """

    uri: str
    status: str
    splint: str
    error: CodevaultError | None
    seconds: float


@dataclass(frozen=True, slots=True)
class PrefetchReport:
    """What became of all URIs, in the order in which they were given.

    Attributes:
        items: One for each checkpoint and commit.
        requests: How often this process asked servers meanwhile.
        bytes: What it got from them.
        seconds: Wall time.
    """

    items: tuple[PrefetchItem, ...]
    requests: int = 0
    bytes: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether every item is in the cache now."""
        return not self.failures

    @property
    def failures(self) -> tuple[PrefetchItem, ...]:
        """The items that failed."""
        return tuple(item for item in self.items if item.status == "failed")

    @property
    def snapshots(self) -> int:
        """Number of different snapshots that are in the cache now."""
        return len({item.splint for item in self.items if item.splint})


def prefetch(
    uris: Iterable[str | os.PathLike[str]],
    *,
    jobs: int | None = None,
    trust: Trust = None,
    cache: CachePath = None,
    weights: bool = False,
    pin: str = "",
    step: Callable[[PrefetchItem], None] | None = None,
) -> PrefetchReport:
    """Has the code of checkpoints in the cache, compiled, so that a later load needs no network.

    One bad URI does not stop the others. torch is not imported. The process may be killed at any
    moment: what is in the cache is whole, and the next call goes on from there.

    Args:
        uris: Checkpoints, patterns (`s3://runs/**/*.mpt`), run folders, and commits as
            `repository@<full commit>`; each is looked at once.
        jobs: How many manifests, repositories and weights at once; None takes 4.
        trust: Grants; None reads the user's. A commit that is named here is the caller's word.
        cache: As for `load_policy`.
        weights: Whether remote checkpoints are copied whole too, as `load_policy` would.
        pin: A name under which the snapshots are kept from collection; "" for none.
        step: Called with each item when it is done, by one thread at a time.

    Raises:
        CodevaultError: `pin` cannot be a name, or there is no place for a cache.
    """
    vault, start, before = opened(cache), time.perf_counter(), traffic()
    work = _Work(vault, trust, weights, _checked(pin), step)
    pool = ThreadPoolExecutor(max_workers=jobs or 4)
    try:
        names = dict.fromkeys(os.fspath(uri) for uri in uris)
        named = dict.fromkeys(uri for found in pool.map(work.expanded, names) for uri in found)
        batches: dict[str, list[Look]] = {}
        for seen in pool.map(work.looked, named):
            if seen is not None:
                batches.setdefault(seen.repo or seen.uri, []).append(seen)
        list(pool.map(work.batch, batches.values()))
        list(pool.map(work.weighed, [i for i in work.items.values() if work.is_waiting(i)]))
    except BaseException:
        work.stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    asked = traffic().since(before)
    items = tuple(work.items[uri] for uri in named)
    return PrefetchReport(items, asked.requests, asked.received, time.perf_counter() - start)


@dataclass(frozen=True, slots=True)
class _Work:
    """One prefetch: its arguments, and what became of each URI so far."""

    cache: Cache
    trust: Trust
    weights: bool
    pin: str
    step: Callable[[PrefetchItem], None] | None
    items: dict[str, PrefetchItem] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def expanded(self, name: str) -> list[str]:
        start = time.perf_counter()
        try:
            return targets(name)
        except _EXPECTED as error:
            self.done(_failed(name, error, start))
            return [name]

    def looked(self, uri: str) -> Look | None:
        start = time.perf_counter()
        if uri in self.items or self.stopped.is_set():
            return None
        try:
            return look(uri, self.trust)
        except _EXPECTED as error:
            self.done(_failed(uri, error, start))
            return None

    def batch(self, looks: Sequence[Look]) -> None:
        """Has the code of one repository's checkpoints, each snapshot once."""
        start = time.perf_counter()
        groups: dict[tuple[object, ...], list[Look]] = {}
        for each in looks:
            groups.setdefault(each.key, []).append(each)
        there = {key: present(group[0], self.cache) is not None for key, group in groups.items()}
        down = ahead([group[0] for group in groups.values()], self.cache)
        for key, group in groups.items():
            if self.stopped.is_set():
                return
            self.had(group, there[key], down, start)

    def had(
        self, group: Sequence[Look], there: bool, down: CodevaultError | None, start: float
    ) -> None:
        """Has one snapshot, by the first of its checkpoints whose own objects are sound."""
        waiting = list(group)
        while waiting:
            try:
                if down is not None and present(waiting[0], self.cache) is None:
                    raise down
                name, hit = have(waiting[0], self.cache)
                if self.pin:
                    pins.pin(self.cache, name, self.pin)
                status = "hit" if hit and there else "fetched"
                found = [PrefetchItem(each.uri, status, name, None, 0.0) for each in waiting]
            except CheckpointError as error:
                found = [_failed(waiting[0].uri, error, start)]
            except _EXPECTED as error:
                found = [_failed(each.uri, error, start) for each in waiting]
            for item in found:
                self.done(replace(item, seconds=time.perf_counter() - start))
            del waiting[: len(found)]

    def is_waiting(self, item: PrefetchItem) -> bool:
        """Whether a copy of the weights is still to be made."""
        remote = self.weights and item.error is None and commit_of(item.uri) is None
        return remote and local_path(item.uri) is None

    def weighed(self, item: PrefetchItem) -> None:
        start = time.perf_counter()
        if self.stopped.is_set():
            return
        try:
            fetched(item.uri, downloads(self.cache.roots[0]))
            done = replace(item, seconds=item.seconds + time.perf_counter() - start)
        except _EXPECTED as error:
            done = _failed(item.uri, error, start)
        self.items[item.uri] = done
        self.tell(done)

    def done(self, item: PrefetchItem) -> None:
        self.items[item.uri] = item
        if not self.is_waiting(item):
            self.tell(item)

    def tell(self, item: PrefetchItem) -> None:
        if self.step is not None:
            with self.lock:
                self.step(item)


_EXPECTED = (CodevaultError, CacheError, OSError, ValueError)
"""One bad item must not stop the others."""


def _failed(uri: str, error: Exception, start: float) -> PrefetchItem:
    if isinstance(error, CacheError):
        error = translated(error)
    if not isinstance(error, CodevaultError):
        error = FetchError(f"{shown(uri)} failed", f"{type(error).__name__}: {error}", "")
    return PrefetchItem(uri, "failed", "", error, time.perf_counter() - start)


def _checked(pin: str) -> str:
    try:
        return pin and pins.check_group(pin)
    except CacheError as error:
        raise translated(error) from error
