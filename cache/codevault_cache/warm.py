"""Make snapshots available here: a hit costs a look, a miss is fetched, checked and kept.

What is in the cache is verified when it is opened: an entry that is damaged then is set aside, and
the next call fetches it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codevault_cache.wanted import claim_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault_cache.cache import Cache
    from codevault_cache.snapshot import Snapshot
    from codevault_cache.wanted import Wanted


def warm(cache: Cache, wanted: Sequence[Wanted]) -> list[Snapshot]:
    """Make snapshots available; of several processes that lack one, one fetches it.

    Args:
        cache: Where they are kept.
        wanted: What is wanted; several commits of one repository share their conversations.

    Returns:
        The snapshots, in the order of `wanted`.

    Raises:
        CacheError: One of them is not to be had; the error says why.
    """
    found = [cache.find(each) for each in wanted]
    misses = [i for i, snapshot in enumerate(found) if snapshot is None]
    if misses:
        from codevault_cache.collect import collect_daily
        from codevault_cache.election import once
        from codevault_cache.origins import fetch_all

        # Files as they are now have no key: only a look at them tells what they are.
        keys = {key: i for i in misses if (key := claim_key(wanted[i])) is not None}

        def there(key: str) -> bool:
            found[keys[key]] = cache.find(wanted[keys[key]])
            return found[keys[key]] is not None

        def fetch(some: Sequence[int]) -> None:
            fetched = fetch_all(cache, [wanted[i] for i in some])
            for i, snapshot in zip(some, fetched, strict=True):
                found[i] = snapshot

        once(cache.roots[0], list(keys), there, lambda some: fetch([keys[key] for key in some]))
        for i in misses:
            if found[i] is None:
                found[i] = cache.find(wanted[i])
        if rest := [i for i in misses if found[i] is None]:
            fetch(rest)
        collect_daily(cache)
    return [snapshot for snapshot in found if snapshot is not None]
