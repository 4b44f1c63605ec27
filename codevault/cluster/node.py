"""What is done on one node: one of them reads from git for all, each other takes what it read."""

from __future__ import annotations

import dataclasses
import shlex
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from codevault.checkpointcode import as_codevault_error, open_cache, retry_if_damaged
from codevault.cluster.parcel import Order, Parcel, files_in, memory
from codevault.cluster.publish import pushed, questions
from codevault.errors import CodevaultError, FetchError
from codevault.prefetching import workers
from codevault.prefetchrun import EXPECTED, PrefetchItem, PrefetchReport, Supplier, failed
from codevault.repositories import explicit
from codevault.splint import compile_code
from codevault.version import VERSION
from codevault_cache import Snapshot, public_url
from codevault_cache.errors import CacheError
from codevault_cache.traffic import Traffic, traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from codevault.prefetchgroups import Look
    from codevault_cache import Cache

T = TypeVar("T")


def act(version: str, what: Callable[..., T], *given: Any) -> T:
    """Does what another machine asks for, if both have the same codevault.

    Args:
        version: Of the machine that asks.
        what: A function of this module.
        given: Its arguments.

    Raises:
        CodevaultError: The versions differ: what passes between them has none of its own.
    """
    if version != VERSION:
        raise CodevaultError(
            "this node has another codevault than the command",
            f"codevault {VERSION} is installed here, and {version} there",
            f"python -m pip install codevault=={version}",
        )
    return what(*given)


def read(
    looks: Sequence[Look], mirror: str, jobs: int | None, pin: str
) -> tuple[PrefetchReport, Parcel]:
    """Has code in this node's cache, from wherever it is to be had, and packs it for the others.

    Args:
        looks: What is asked for, as `carried` gives it.
        mirror: Where it is published; "" puts it into the parcel.
        jobs: As for `prefetch`.
        pin: As for `prefetch`.

    Returns:
        What became of each, failed where it could not be packed; and the parcel.

    Raises:
        CodevaultError: There is no place for a cache.
    """
    cache, start, before = open_cache(None), time.perf_counter(), traffic()
    supplier = Supplier(cache, pin)
    with workers(jobs, supplier) as pool:
        supplier.all(looks, pool)
    orders: list[Order] = []
    with memory({}) as place:
        for order in _orders(looks, supplier.items, cache):
            begin = time.perf_counter()
            try:
                pushed(order.splint, order.wanted, cache, mirror or place)
                orders.append(order)
            except CodevaultError as error:
                for uri in order.uris:
                    supplier.done(failed(uri, error, begin))
        files = files_in(place)
    items = tuple(supplier.items[seen.uri] for seen in looks)
    return _report(items, before, start), Parcel(tuple(orders), mirror, files)


def take(parcel: Parcel, pin: str) -> PrefetchReport:
    """Has what another node read in this node's cache, proven and compiled; git is not asked.

    Args:
        parcel: What `read` gave.
        pin: As for `prefetch`.

    Raises:
        CodevaultError: There is no place for a cache.
    """
    cache, start, before = open_cache(None), time.perf_counter(), traffic()
    supplier = Supplier(cache, pin)
    with memory(parcel.files) as place:
        for order in parcel.orders:
            begin = time.perf_counter()
            try:
                name, hit = retry_if_damaged(
                    partial(_taken, order, cache, parcel.mirror or place), cache, _compiled
                )
                supplier.keep(name)
                status = "hit" if hit else "fetched"
                took = time.perf_counter() - begin
                done = [PrefetchItem(uri, status, name, None, took) for uri in order.uris]
            except EXPECTED as error:
                done = [failed(uri, error, begin) for uri in order.uris]
            for item in done:
                supplier.done(item)
    return _report(tuple(supplier.items.values()), before, start)


def _report(items: tuple[PrefetchItem, ...], before: Traffic, start: float) -> PrefetchReport:
    asked = traffic().since(before)
    took = time.perf_counter() - start
    return PrefetchReport(items, asked.requests, asked.received, took, asked.mirrored)


def _orders(looks: Iterable[Look], items: Mapping[str, PrefetchItem], cache: Cache) -> list[Order]:
    groups: dict[tuple[object, ...], list[Look]] = {}
    for seen in looks:
        if items[seen.uri].error is None:
            groups.setdefault(seen.key, []).append(seen)
    return [
        Order(
            tuple(seen.uri for seen in group),
            items[group[0].uri].splint,
            # What travelled is in the overlay and the pack.
            tuple(dataclasses.replace(w, objects=None) for w in questions(group[0])),
            _proofs(group[0], cache),
        )
        for group in groups.values()
    ]


def _proofs(seen: Look, cache: Cache) -> tuple[bytes, ...]:
    from codevault_cache import reachability, signatures

    if seen.allowed is None or seen.repo is None or seen.commit is None:
        return ()
    lines = [reachability.proof_of(seen.repo, seen.commit)]
    lines += [signatures.proof_of(key, seen.commit) for key in seen.allowed.signers]
    return tuple(line for line in lines if reachability.is_noted(cache, line))


def _taken(order: Order, cache: Cache, place: str) -> tuple[Snapshot, bool]:
    from codevault_cache.mirror import from_mirror
    from codevault_cache.reachability import note

    hit = True
    try:
        for wanted in order.wanted:
            if cache.find(wanted) is not None:
                continue
            hit = False
            repo = None if wanted.repo is None else public_url(explicit(wanted.repo))
            if from_mirror(cache, wanted, repo, place) is None:
                raise FetchError(
                    f"{order.splint} did not come from the node that read it",
                    "what came is missing, damaged, or not what the commit says",
                    f"codevault prefetch {shlex.quote(order.uris[0])}",
                )
        for line in order.proofs:
            note(cache, line)
    except CacheError as error:
        raise as_codevault_error(error) from error
    snapshot = cache.snapshot(order.splint)
    assert snapshot is not None
    return snapshot, hit


def _compiled(snapshot: Snapshot, cache: Cache) -> str:
    compile_code(snapshot, cache)
    return snapshot.name
