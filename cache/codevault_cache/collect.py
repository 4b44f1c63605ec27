"""Collection of what is no longer used: planned first, then performed, safe at every step.

Records go before what they name, folders go out of sight in one step, and what was used meanwhile,
is pinned, or is open in a running process stays. Only the first folder of a cache is collected.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault_cache import paths
from codevault_cache.holdings import holdings, last_use, names_in, pinned
from codevault_cache.inuse import claimed
from codevault_cache.limits import KEEP_BYTES, KEEP_SECONDS, PROOF_SECONDS
from codevault_cache.removal import DAY, HOUR, discard, sweep
from codevault_cache.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Set

    from codevault_cache.cache import Cache

GRACE = HOUR
"""What was used in the last hour is never collected: a load may be between two steps."""

_LIMITS = {"orphan": DAY, "damaged": DAY, "proof": PROOF_SECONDS}

_log = logging.getLogger("codevault_cache")


@dataclass(frozen=True, slots=True)
class Item:
    """Something that is collected as a whole.

    Attributes:
        kind: "snapshot", "git" (a repository's objects), "checkpoint" (a downloaded one),
            "orphan" (objects without a record), "damaged" (set aside) or "proof".
        name: Splint names, or a file's.
        records: Files that go first.
        objects: What goes then, in order.
        pack: The source pack that a reader would have open, there or not; None without readers.
        signs: Files whose times tell when it was used.
        used: When it was last used, in seconds since the epoch.
        repos: Keys of the git stores that its snapshots were fetched through.
    """

    kind: str
    name: str
    records: tuple[str, ...]
    objects: tuple[str, ...]
    pack: str | None
    signs: tuple[str, ...]
    used: float
    repos: frozenset[str] = frozenset()

    @property
    def places(self) -> tuple[str, ...]:
        """Everything of it."""
        return (*self.records, *self.objects)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a collection will remove.

    Attributes:
        cache: The cache.
        items: The victims, in the order in which they go.
        before: Allocated bytes of the folder now.
        after: Allocated bytes that will be left.
    """

    cache: Cache
    items: tuple[Item, ...]
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did.

    Attributes:
        removed: What is gone.
        kept: What was planned, and is used, pinned or not removable meanwhile.
    """

    removed: tuple[Item, ...]
    kept: tuple[Item, ...]


def items_of(cache: Cache) -> list[Item]:
    """Everything in the first folder that can be collected, the least recently used first."""
    root = cache.roots[0]
    return sorted((*_digests(cache), *_stores(root), *_files(root)), key=lambda item: item.used)


def _digests(cache: Cache) -> Iterator[Item]:
    for held in holdings(cache.roots[0]):
        packs = [paths.pack(root, held.digest) for root in cache.roots]
        there = [pack for pack in packs if os.path.exists(pack)]
        pack = next(iter((*there, *packs)))
        keys = {paths.depot_key(s.repo) for s in held.snapshots if s.repo is not None}
        kind = "snapshot" if held.snapshots and there else "orphan"
        name = " ".join(s.name for s in held.snapshots) or held.digest
        used = max(held.used, last_use([pack]))
        yield Item(kind, name, held.records, held.objects, pack, (pack,), used, frozenset(keys))


def _stores(root: str) -> Iterator[Item]:
    for name in names_in(paths.depots(root)):
        place = os.path.join(paths.depots(root), name)
        signs = (place, os.path.join(place, "objects"))
        yield Item("git", name.removesuffix(".git"), (), (place,), None, signs, last_use(signs))


def _files(root: str) -> Iterator[Item]:
    kinds = {"checkpoint": paths.downloads, "damaged": paths.quarantine, "proof": paths.proofs}
    for kind, folder in kinds.items():
        for name in names_in(folder(root)):
            place = os.path.join(folder(root), name)
            yield Item(kind, name, (), (place,), None, (place,), last_use([place]))


def plan(
    cache: Cache, max_size: int | None = KEEP_BYTES, max_age: float | None = KEEP_SECONDS
) -> Plan:
    """Say what a collection would remove; nothing is changed.

    Args:
        cache: The cache.
        max_size: Allocated bytes that may stay, as `du` counts them; None for any number.
        max_age: Seconds since the last use after which a snapshot goes; None for never.

    Returns:
        The plan: old things first, then the least recently used ones.
    """
    now = time.time()
    usage = Usage(cache.roots[0])
    before = usage.bytes
    items, kept = items_of(cache), pinned(cache.roots)
    waiting = [item for item in items if now - item.used > GRACE and _free(item, kept)]
    stores = {item.name: item for item in waiting if item.kind == "git"}
    needed = Counter(repo for item in items for repo in item.repos)
    victims: dict[int, Item] = {}

    def take(item: Item) -> None:
        victims[id(item)] = item
        usage.remove(item.places)
        needed.subtract(item.repos)

    def take_unneeded() -> None:
        """Git stores of repositories that no remaining snapshot came from."""
        for name in [name for name in stores if not needed[name]]:
            take(stores.pop(name))

    for item in waiting:
        limit = _LIMITS.get(item.kind, max_age)
        if limit is not None and item.kind != "git" and now - item.used > limit:
            take(item)
    take_unneeded()
    for item in waiting:
        if max_size is None or usage.bytes <= max_size:
            break
        if id(item) not in victims and item.kind != "proof":  # those are too small to matter
            take(item)
            stores.pop(item.name, None)
            take_unneeded()
    return Plan(cache, tuple(victims.values()), before, usage.bytes)


def everything(cache: Cache) -> Plan:
    """A plan to remove all that is neither pinned nor in use."""
    usage, kept = Usage(cache.roots[0]), pinned(cache.roots)
    before = usage.bytes
    victims = tuple(item for item in items_of(cache) if _free(item, kept))
    for item in victims:
        usage.remove(item.places)
    return Plan(cache, victims, before, usage.bytes)


def _free(item: Item, kept: Set[str]) -> bool:
    """Whether an item is neither pinned nor open in a running process."""
    with claimed(item.pack) as free:
        return free and kept.isdisjoint(item.name.split())


def collect(planned: Plan, done: Callable[[Item], object] = lambda item: None) -> Collected:
    """Remove what a plan names; what was used, pinned or opened since then stays.

    Args:
        planned: What `plan` gave.
        done: Called after each item.
    """
    removed: list[Item] = []
    kept: list[Item] = []
    for item in planned.items:
        (removed if remove(planned.cache, item) else kept).append(item)
        done(item)
    sweep(paths.tmp(planned.cache.roots[0]))
    return Collected(tuple(removed), tuple(kept))


def remove(cache: Cache, item: Item) -> bool:
    """Remove one item, records first; False where it is used or pinned now, or cannot go."""
    from codevault_cache.atomicwrite import sync_folder

    tmp = paths.tmp(cache.roots[0])
    with claimed(item.pack) as free:
        pins = pinned(cache.roots)
        if not free or last_use(item.signs) > item.used or not pins.isdisjoint(item.name.split()):
            return False  # used, pinned, or published again, since the plan was made
        try:
            if not all(discard(record, tmp) for record in item.records):
                return False
            for folder in {os.path.dirname(record) for record in item.records}:
                sync_folder(folder)
        except OSError:
            return False
        return all(discard(place, tmp) for place in item.objects)


def collect_daily(cache: Cache) -> None:
    """Collect with the default limits once a day, from the second on; never fails, never waits.

    A folder that others can write, or that is not this user's, is theirs to collect.
    """
    root = cache.roots[0]
    mark = paths.collected(root)
    try:
        status = os.stat(root)
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return
        new = not os.path.exists(mark)
        if not new and abs(time.time() - os.stat(mark).st_mtime) < DAY:
            return
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
        os.utime(mark)
        removed = () if new else collect(plan(cache)).removed
    except OSError as error:
        _log.info("cannot collect %s: %s", root, error)
        return
    if removed:
        _log.info("collected %d unused entries of %s", len(removed), root)
