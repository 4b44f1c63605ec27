"""A snapshot made of a source's files: checked, published, and recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codevault_cache.errors import DigestMismatch
from codevault_cache.snapshot import Snapshot
from codevault_cache.source import Item, choose, compose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from codevault_cache.cache import Cache
    from codevault_cache.source import Source
    from codevault_cache.wanted import Wanted


class EmptySource:
    """No files at all: what an overlay that is complete by itself lies over."""

    def walk(self, descends: Callable[[str], bool]) -> Iterator[tuple[str, Item]]:
        """Nothing."""
        descends("")
        return iter(())


def keep(cache: Cache, wanted: Wanted, source: Source, repo: str | None) -> Snapshot:
    """Publish the files of a source as a snapshot.

    Args:
        cache: Where it is kept.
        wanted: What is wanted, commit and overlay settled: a later equal request is a hit.
        source: The tree.
        repo: Where it came from, without user info.

    Returns:
        The snapshot.

    Raises:
        DigestMismatch: It is not the code that was asked for.
    """
    choice = choose(source, wanted.roots, wanted.shared, wanted.include)
    files, left_out = compose(source, choice, wanted.overlay)
    try:
        digest = cache.publish(files, wanted.digest)
    except DigestMismatch as error:
        raise DigestMismatch(
            f"The code of {wanted.commit or repo} is not the code that was recorded.",
            f"{error.why} {len(files)} files, {len(left_out)} left out.",
            "codevault show CHECKPOINT, and compare roots, include and overlay",
        ) from None
    snapshot = Snapshot(
        wanted.commit,
        choice.roots,
        choice.shared,
        choice.include,
        wanted.overlay_digest,
        digest,
        repo,
        left_out,
    )
    cache.record(snapshot, wanted)
    return snapshot
