"""The supplier has in the cache what checkpoints ask for, and tells what became of each."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from codevault.checkpointcode import as_codevault_error
from codevault.errors import CheckpointError, CodevaultError, FetchError, offline_line
from codevault.prefetchgroups import fetch_together, find_ready, make_ready
from codevault.uri import shown
from codevault_cache import pins
from codevault_cache.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import ThreadPoolExecutor

    from codevault.prefetchgroups import Look
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
        mirrored: How many snapshots came from a mirror meanwhile.
    """

    items: tuple[PrefetchItem, ...]
    requests: int = 0
    bytes: int = 0
    seconds: float = 0.0
    mirrored: int = 0

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


@dataclass(frozen=True, slots=True)
class Supplier:
    """Has code in a cache, and keeps what became of each URI.

    Attributes:
        cache: Where the code is kept.
        pin: The group of pins for the snapshots; "" for none.
        step: Called with each item when it is done, by one thread at a time.
        items: What became of each URI so far.
        stopped: Set when no more is wanted.
    """

    cache: Cache
    pin: str = ""
    step: Callable[[PrefetchItem], None] | None = None
    items: dict[str, PrefetchItem] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def all(self, looks: Iterable[Look], pool: ThreadPoolExecutor) -> None:
        """Has the code of all: of several repositories at once, of each in one conversation."""
        batches: dict[str, list[Look]] = {}
        for seen in looks:
            batches.setdefault(seen.repo or seen.uri, []).append(seen)
        list(pool.map(self._batch, batches.values()))

    def _batch(self, looks: Sequence[Look]) -> None:
        """Has the code of one repository's checkpoints, each snapshot once."""
        start = time.perf_counter()
        groups: dict[tuple[object, ...], list[Look]] = {}
        for each in looks:
            groups.setdefault(each.key, []).append(each)
        there = {key: find_ready(group[0], self.cache) is not None for key, group in groups.items()}
        down = fetch_together([group[0] for group in groups.values()], self.cache)
        for key, group in groups.items():
            if self.stopped.is_set():
                return
            self._had(group, there[key], down, start)

    def _had(
        self, group: Sequence[Look], there: bool, down: CodevaultError | None, start: float
    ) -> None:
        """Has one snapshot, by the first of its checkpoints whose own objects are sound."""
        waiting = list(group)
        while waiting:
            try:
                if down is not None and find_ready(waiting[0], self.cache) is None:
                    raise down
                name, hit = make_ready(waiting[0], self.cache)
                self.keep(name)
                status = "hit" if hit and there else "fetched"
                found = [PrefetchItem(each.uri, status, name, None, 0.0) for each in waiting]
            except CheckpointError as error:
                found = [failed(waiting[0].uri, error, start)]
            except EXPECTED as error:
                found = [failed(each.uri, error, start) for each in waiting]
            for item in found:
                self.done(replace(item, seconds=time.perf_counter() - start))
            del waiting[: len(found)]

    def keep(self, name: str) -> None:
        """Pins a snapshot, if that is wanted."""
        if self.pin:
            pins.pin(self.cache, name, self.pin)

    def done(self, item: PrefetchItem) -> None:
        """Notes what became of a URI, and tells it."""
        self.items[item.uri] = item
        if self.step is not None:
            with self._lock:
                self.step(item)


EXPECTED = (CodevaultError, CacheError, OSError, ValueError)
"""One bad item must not stop the others."""


def failed(uri: str, error: Exception, start: float) -> PrefetchItem:
    """What became of a URI that an error has ended."""
    if isinstance(error, CacheError):
        error = as_codevault_error(error)
    if not isinstance(error, CodevaultError):
        hint = "check the name, and what is there"
        error = FetchError(f"{shown(uri)} failed", f"{type(error).__name__}: {error}", hint)
    error = offline_line(error, shown(uri))
    return PrefetchItem(uri, "failed", "", error, time.perf_counter() - start)
