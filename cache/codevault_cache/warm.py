"""Make snapshots available here: a hit costs a look, a miss is fetched, checked and kept.

What is in the cache is verified when it is opened: an entry that is damaged then is set aside, and
the next call fetches it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault_cache.cache import Cache
    from codevault_cache.snapshot import Snapshot
    from codevault_cache.wanted import Wanted


def warm(cache: Cache, wanted: Sequence[Wanted]) -> list[Snapshot]:
    """Make snapshots available.

    Args:
        cache: Where they are kept.
        wanted: What is wanted; several commits of one repository share their conversations.

    Returns:
        The snapshots, in the order of `wanted`.

    Raises:
        CacheError: One of them is not to be had; the error says why.
    """
    found: list[Snapshot | None] = [cache.find(each) for each in wanted]
    misses = [i for i, snapshot in enumerate(found) if snapshot is None]
    if misses:
        from codevault_cache.collect import collect_daily
        from codevault_cache.origins import fetch_all

        for i, snapshot in zip(misses, fetch_all(cache, [wanted[i] for i in misses]), strict=True):
            found[i] = snapshot
        collect_daily(cache)
    return [snapshot for snapshot in found if snapshot is not None]
