"""The public `publish`: puts the code of checkpoints into a mirror, for other machines."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault.checkpointcode import CachePath, as_codevault_error, open_cache, wanted_of
from codevault.errors import CodevaultError
from codevault.prefetching import sought, workers
from codevault.prefetchrun import Supplier
from codevault.uri import writing
from codevault_cache import Wanted
from codevault_cache.errors import CacheError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from codevault.prefetchgroups import Look
    from codevault.prefetching import PrefetchItem
    from codevault.trust import Trust
    from codevault_cache import Cache


@dataclass(frozen=True, slots=True)
class PublishItem:
    """What became of one snapshot, or of a URI whose code was not to be had.

    Attributes:
        uri: The first URI that names it.
        status: "there" (nothing was written), "published", or "failed".
        splint: The name under which its code will be mounted; empty if it could not be had.
        bytes: How many were written.
        error: Why it failed; None otherwise.
        seconds: Wall time of the writing.
    """

    uri: str
    status: str
    splint: str
    bytes: int
    error: CodevaultError | None
    seconds: float


def publish(
    uris: Iterable[str | os.PathLike[str]],
    to: str,
    *,
    jobs: int | None = None,
    trust: Trust = None,
    cache: CachePath = None,
    step: Callable[[PublishItem], None] | None = None,
) -> tuple[PublishItem, ...]:
    """Puts the code of checkpoints into a mirror, from which `CODEVAULT_MIRROR` takes it.

    Sources go there, and what proves them; neither compiled code nor weights. What the mirror has
    is left as it is, so that it may be done again, and by many at once.

    Args:
        uris: As for `prefetch`, which is done first.
        to: The mirror's folder, in any form that fsspec knows: `s3://bucket/codevault`.
        jobs: How many at once; None takes 4.
        trust: As for `prefetch`.
        cache: As for `prefetch`.
        step: Called with each item when it is done, in order.

    Returns:
        One item for each snapshot, and for each URI that failed.

    Raises:
        CodevaultError: There is no place for a cache.
    """
    vault = open_cache(cache)
    supplier = Supplier(vault)
    items = []

    def each(item: PrefetchItem, looks: Iterable[Look]) -> PublishItem:
        start = time.perf_counter()
        written, error = 0, item.error
        if error is None:
            try:
                asked = [wanted for seen in looks for wanted in questions(seen)]
                written = pushed(item.splint, asked, vault, to)
            except CodevaultError as caught:
                error = caught
        status = "failed" if error else "published" if written else "there"
        took = time.perf_counter() - start
        return PublishItem(item.uri, status, item.splint, written, error, took)

    with workers(jobs, supplier) as pool:
        named, looks = sought(uris, trust, pool, supplier)
        supplier.all(looks, pool)
        # One snapshot may be asked for in several ways, and is found by those that were published.
        ways: dict[str, dict[tuple[object, ...], Look]] = {}
        for seen in looks:
            ways.setdefault(supplier.items[seen.uri].splint, {}).setdefault(seen.key, seen)
        first: dict[str, PrefetchItem] = {}
        for item in (supplier.items[uri] for uri in named):
            first.setdefault(item.splint or item.uri, item)
        several = [ways[item.splint].values() if item.splint else () for item in first.values()]
        for done in pool.map(each, first.values(), several):
            items.append(done)
            if step is not None:
                step(done)
    return tuple(items)


def questions(seen: Look) -> list[Wanted]:
    """What a load of it asks a cache; a mirror must answer all of it."""
    if seen.code is None or seen.allowed is None:
        return [Wanted(repo=seen.repo, commit=seen.commit)]
    asked = [wanted_of(seen.code, seen.allowed)]
    if seen.code.manifest.shared:  # what the commit itself says is shared is asked for too
        asked.append(dataclasses.replace(asked[0], shared=None))
    return asked


def pushed(name: str, asked: Iterable[Wanted], cache: Cache, to: str) -> int:
    """Pushes a snapshot of the cache with the answers to some questions; bytes written.

    Raises:
        CodevaultError: The cache does not hold it, or the mirror cannot be written.
    """
    from codevault_cache.mirrorpush import push

    snapshot = cache.snapshot(name)
    try:
        with writing(to):
            assert snapshot is not None
            return sum(push(cache, snapshot, wanted, to) for wanted in asked)
    except CacheError as error:
        raise as_codevault_error(error) from error
