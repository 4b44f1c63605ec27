"""Repair of what a verification found: damaged entries go, and come back where that is possible."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault_cache import paths
from codevault_cache.errors import CacheError
from codevault_cache.holdings import holdings
from codevault_cache.removal import set_aside
from codevault_cache.wanted import Wanted
from codevault_cache.warm import warm

if TYPE_CHECKING:
    from codevault_cache.cache import Cache
    from codevault_cache.snapshot import Snapshot
    from codevault_cache.verify import Report


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair did.

    Attributes:
        set_aside: Paths that are in the quarantine now; entries of read-only folders stay.
        healed: Names of the snapshots that are whole again.
        waiting: Name of each that is not, and why: its next load fetches it.
    """

    set_aside: tuple[str, ...]
    healed: tuple[str, ...]
    waiting: tuple[tuple[str, str], ...]


def repair(cache: Cache, report: Report) -> Repaired:
    """Set damaged entries aside, lay files out again, and fetch packs again from where they came.

    Args:
        cache: The cache; only its first folder is changed.
        report: What `verify` found.
    """
    root = cache.roots[0]
    damaged = {bad.path for bad in report.bad}
    hurt = {
        snapshot.name: snapshot
        for held in holdings(root)
        for snapshot in held.snapshots
        if not damaged.isdisjoint((*held.records, *held.objects))
    }
    aside = tuple(
        bad.path
        for bad in report.bad
        if bad.path.startswith(root + "/") and set_aside(bad.path, paths.quarantine(root))
    )
    healed, waiting = [], []
    for name, snapshot in sorted(hurt.items()):
        why = _healed(cache, snapshot)
        if why is None:
            healed.append(name)
        else:
            waiting.append((name, why))
    return Repaired(aside, tuple(healed), tuple(waiting))


def _healed(cache: Cache, snapshot: Snapshot) -> str | None:
    """Have a snapshot whole again; the reason where that is not possible."""
    with contextlib.suppress(CacheError):
        cache.tree(snapshot.digest).close()  # lays its files out
        return None
    if snapshot.overlay is not None or snapshot.commit is None:
        return "Its files travel in its checkpoint."
    wanted = Wanted(
        snapshot.repo,
        snapshot.commit,
        snapshot.roots,
        snapshot.shared,
        snapshot.include,
        digest=snapshot.digest,
    )
    try:
        warm(cache, [wanted])
    except (CacheError, OSError) as error:
        return str(error).partition("\n")[0]
    return None
