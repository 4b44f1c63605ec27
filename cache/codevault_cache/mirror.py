"""A mirror: snapshots that somebody pushed to a folder that fsspec can read, a bucket for instance.

Nothing in it is believed. A source pack counts where its digest is the one that the caller knows;
otherwise the commit and its trees, which lie beside it, must lead to every file by git's hashes. A
mirror that is stale, cut short, lying or silent is passed over, and the next origin is asked.
"""

from __future__ import annotations

import errno
import logging
import re
import time
from typing import TYPE_CHECKING

from codevault_cache import environ, limits
from codevault_cache.address import public_url
from codevault_cache.errors import CacheError, Unwritable
from codevault_cache.keep import keep
from codevault_cache.proven import proven_source
from codevault_cache.traffic import count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codevault_cache.cache import Cache
    from codevault_cache.snapshot import Snapshot
    from codevault_cache.wanted import Wanted

_log = logging.getLogger("codevault_cache")
_LOCAL = ("file", "local", "memory")

_AT_ONCE = 4
"""How many snapshots are read at once: the store is far away, and answers one by one."""

_LONG_SECONDS = 5.0
_AGAIN_SECONDS = 60.0
_NOBODY_THERE = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)
_silent: dict[str, float] = {}
"""When a mirror that cannot be reached, or was long in failing, is asked again."""


def mirrored(cache: Cache, wanted: Mapping[int, Wanted]) -> dict[int, Snapshot]:
    """Take from CODEVAULT_MIRROR what it has of several snapshots; the network may be forbidden.

    Args:
        cache: Where they are kept.
        wanted: What is wanted, by numbers of the caller's.

    Returns:
        Those that could be proven, by their numbers.

    Raises:
        Unwritable: The cache does not take one.
    """
    url = environ.mirror()
    asked = {i: each for i, each in wanted.items() if each.commit is not None}
    if url is None or (environ.offline() and not is_local(url)):
        return {}

    def read(each: Wanted) -> Snapshot | None:
        return from_mirror(cache, each, None if each.repo is None else public_url(each.repo), url)

    if len(asked) < 2:  # in this thread, where Ctrl-C ends the wait
        found = [read(each) for each in asked.values()]
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(read, asked.values()))
    return {i: each for i, each in zip(asked, found, strict=True) if each is not None}


def from_mirror(cache: Cache, wanted: Wanted, repo: str | None, url: str) -> Snapshot | None:
    """Take a snapshot from a mirror.

    Args:
        cache: Where it is kept.
        wanted: What is wanted.
        repo: Where its commit comes from, without user info.
        url: The mirror's folder, in any form that fsspec knows.

    Returns:
        The snapshot, or None where the mirror has none that can be proven.

    Raises:
        Unwritable: The cache does not take it.
    """
    from codevault_cache.timeouts import within

    start = time.monotonic()
    if start < _silent.get(url, 0.0):
        return None
    try:
        remote = not is_local(url)
        source = within(limits.FETCH_SECONDS, lambda: proven_source(wanted, url, remote=remote))
        if source is None:
            return None
        snapshot = keep(cache, wanted, source, repo)
        count(mirrored=1)
        return snapshot
    except FileNotFoundError as error:
        if _is_absent(error):
            return None
        trouble: BaseException = error.__cause__ or error
    except Unwritable:
        raise
    except Exception as error:  # whatever a file system library raises, another origin may do
        trouble = error
    _pass_over(url, trouble, time.monotonic() - start)
    return None


def _is_absent(error: FileNotFoundError) -> bool:
    """Tell whether the store said so: fsspec's HTTP store has no other word for any trouble."""
    cause = error.__cause__
    said = getattr(cause, "status", None) in (404, 410) or hasattr(cause, "response")
    return cause is None or said


def _pass_over(url: str, trouble: BaseException, seconds: float) -> None:
    why = f"{type(trouble).__name__}: {trouble}"
    lost = getattr(trouble, "errno", None) in _NOBODY_THERE
    if isinstance(trouble, CacheError):
        why = trouble.what
    elif lost or seconds > _LONG_SECONDS:
        _silent[url] = time.monotonic() + max(seconds, _AGAIN_SECONDS)
    place = re.sub(r"(?<=://)[^/]*@|\?.*", "", url)
    _log.warning("the mirror %s is passed over: %s", _printable(place), _printable(why))


def _printable(text: str) -> str:
    return ascii(text)[1:-1][:300]


def is_local(url: str) -> bool:
    """Tell whether reading a mirror needs no network."""
    return "://" not in url or url.split("://", 1)[0].split("::")[-1] in _LOCAL
