"""The public `prefetch`: has the code of many checkpoints in the cache before a run."""

from __future__ import annotations

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from codevault.checkpointcode import CachePath, as_codevault_error, open_cache
from codevault.downloads import local_copy
from codevault.listed import must_be_listed
from codevault.prefetchgroups import look
from codevault.prefetchrun import EXPECTED, PrefetchItem, PrefetchReport, Supplier, failed
from codevault.targets import commit_of, targets
from codevault.uri import local_path
from codevault_cache import pins
from codevault_cache.errors import CacheError
from codevault_cache.paths import downloads
from codevault_cache.traffic import traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from codevault.prefetchgroups import Look
    from codevault.trust import Trust

__all__ = ["PrefetchItem", "PrefetchReport", "checked", "prefetch", "sought", "workers"]


def prefetch(
    uris: Iterable[str | os.PathLike[str]],
    *,
    jobs: int | None = None,
    trust: Trust = None,
    cache: CachePath = None,
    weights: bool = False,
    pin: str = "",
    step: Callable[[PrefetchItem], None] | None = None,
    found: Callable[[int], None] | None = None,
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
        found: Called once with the number of items, when all names were looked at.

    Raises:
        UsageError: `uris` is one text instead of a list.
        CodevaultError: `pin` cannot be a name, or there is no place for a cache.
    """
    vault, start, before = open_cache(cache), time.perf_counter(), traffic()
    supplier = Supplier(vault, checked(pin), None if weights else step)
    with workers(jobs, supplier) as pool:
        named, looks = sought(uris, trust, pool, supplier)
        if found is not None:
            found(len(named))
        supplier.all(looks, pool)
        if weights:
            copying = replace(supplier, step=step)
            list(pool.map(lambda uri: _copied(uri, copying), named))
    asked = traffic().since(before)
    items = tuple(supplier.items[uri] for uri in named)
    took = time.perf_counter() - start
    return PrefetchReport(items, asked.requests, asked.received, took, asked.mirrored)


@contextlib.contextmanager
def workers(jobs: int | None, supplier: Supplier) -> Iterator[ThreadPoolExecutor]:
    """So many threads; an error stops the supplier, and waits for none of them."""
    pool = ThreadPoolExecutor(max_workers=jobs or 4)
    try:
        yield pool
    except BaseException:
        supplier.stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def sought(
    uris: Iterable[str | os.PathLike[str]],
    trust: Trust,
    pool: ThreadPoolExecutor,
    supplier: Supplier,
) -> tuple[list[str], list[Look]]:
    """What checkpoints, patterns, run folders and commits ask for, each looked at once.

    Args:
        uris: As for `prefetch`.
        trust: As for `prefetch`.
        pool: Looks at several at once.
        supplier: Is done with each that names nothing, cannot be read, or has no grant.

    Returns:
        All URIs, and what is asked for by those that were not done with.

    Raises:
        UsageError: `uris` is one text instead of a list.
    """
    must_be_listed(uris=uris)
    bad: set[str] = set()
    states: dict[str, tuple[int | None, str]] = {}
    notes = downloads(supplier.cache.roots[0])

    def expanded(name: str) -> list[str]:
        start = time.perf_counter()
        try:
            return targets(name, states)
        except EXPECTED as error:
            bad.add(name)
            supplier.done(failed(name, error, start))
            return [name]

    def looked(uri: str) -> Look | None:
        start = time.perf_counter()
        if uri in bad:
            return None
        try:
            return look(uri, trust, notes, states.get(uri))
        except EXPECTED as error:
            supplier.done(failed(uri, error, start))
            return None

    names = dict.fromkeys(os.fspath(uri) for uri in uris)
    named = dict.fromkeys(uri for found in pool.map(expanded, names) for uri in found)
    return list(named), [seen for seen in pool.map(looked, named) if seen is not None]


def _copied(uri: str, supplier: Supplier) -> None:
    """Copies a remote checkpoint whole, where its code is there."""
    item, start = supplier.items[uri], time.perf_counter()
    if supplier.stopped.is_set():
        return
    if item.error is None and commit_of(uri) is None and local_path(uri) is None:
        try:
            local_copy(uri, supplier.cache.roots[0])
            item = replace(item, seconds=item.seconds + time.perf_counter() - start)
        except EXPECTED as error:
            item = failed(uri, error, start)
    supplier.done(item)


def checked(pin: str) -> str:
    """The name of a group of pins, if it can be one; "" for none.

    Raises:
        CodevaultError: It cannot.
    """
    try:
        return pin and pins.check_group(pin)
    except CacheError as error:
        raise as_codevault_error(error) from error
