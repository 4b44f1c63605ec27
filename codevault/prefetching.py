"""The public `prefetch`: has the code of many checkpoints in the cache before a run."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault.checkpoint import open_checkpoint
from codevault.errors import CodevaultError, FetchError
from codevault.grants import grant
from codevault.ranged import remote_code
from codevault.repositories import explicit
from codevault.splint import compile_code
from codevault.supply import CachePath, healed, opened, used, warm
from codevault.trust import Trust, allow
from codevault.uri import local_path
from codevault_cache import Cache, Snapshot, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class PrefetchItem:
    """What became of one URI.

    Attributes:
        uri: As it was given.
        status: "hit" (nothing was fetched), "fetched", or "failed".
        splint: The name under which its code will be mounted; empty if it failed.
        error: Why it failed; None otherwise.
        seconds: Wall time.
    """

    uri: str
    status: str
    splint: str
    error: CodevaultError | None
    seconds: float


@dataclass(frozen=True, slots=True)
class PrefetchReport:
    """What became of all URIs, in the order in which they were given."""

    items: tuple[PrefetchItem, ...]

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
) -> PrefetchReport:
    """Has the code of checkpoints in the cache, compiled, so that a later load needs no network.

    One bad URI does not stop the others. torch is not imported.

    Args:
        uris: Checkpoints, and commits as `repository@<full commit>`.
        jobs: How many at once; None takes 4.
        trust: Grants; None reads the user's. A commit that is named here is the caller's word.
        cache: As for `load_policy`.
    """
    vault = opened(cache)
    with ThreadPoolExecutor(max_workers=jobs or 4) as pool:
        items = pool.map(lambda uri: _item(os.fspath(uri), trust, vault), list(uris))
        return PrefetchReport(tuple(items))


def _item(uri: str, trust: Trust, vault: Cache) -> PrefetchItem:
    start = time.perf_counter()
    try:
        name, hit = _had(uri, trust, vault)
    except CodevaultError as error:
        return PrefetchItem(uri, "failed", "", error, time.perf_counter() - start)
    except (OSError, ValueError) as error:  # one bad item must not stop the others
        failure = FetchError(f"{uri} failed", f"{type(error).__name__}: {error}", "")
        return PrefetchItem(uri, "failed", "", failure, time.perf_counter() - start)
    status = "hit" if hit else "fetched"
    return PrefetchItem(uri, status, name, None, time.perf_counter() - start)


def _had(uri: str, trust: Trust, vault: Cache) -> tuple[str, bool]:
    """Has the code behind one URI in the cache, compiled: its splint name, and if it was there."""

    def compiled(snapshot: Snapshot, cache: Cache) -> str:
        compile_code(snapshot, cache)
        return snapshot.name

    named = _commit(uri)
    if named is None:
        path = local_path(uri)
        code = remote_code(uri) if path is None else open_checkpoint(path)
        return used(code, allow(code.manifest, trust), vault, compiled)
    wanted = Wanted(repo=explicit(named[0]), commit=named[1])

    def have() -> tuple[Snapshot, bool]:
        known = vault.find(wanted)
        return (warm([wanted], vault)[0], False) if known is None else (known, True)

    return healed(have, vault, compiled)


def _commit(uri: str) -> tuple[str, str] | None:
    """Repository and commit of `repository@<full commit>`; None for a checkpoint's URI."""
    repo, _, commit = uri.rpartition("@")
    if not repo or len(commit) not in (40, 64) or set(commit) - set("0123456789abcdef"):
        return None
    grant(uri)
    return repo, commit
