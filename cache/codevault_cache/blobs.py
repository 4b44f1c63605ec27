"""The blobs that the wanted files of fetched trees lack: found by id, and asked for at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from codevault_cache.errors import CacheError, CommitNotFound, Unreachable
from codevault_cache.gitobjects import GITLINK
from codevault_cache.gittree import Damaged, GitSource, source_at
from codevault_cache.limits import FILE_BYTES
from codevault_cache.source import Choice, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from codevault_cache.fetch import Fetch, Job
    from codevault_cache.selection import Selection

T = TypeVar("T")

SMALL_BLOBS = f"blob:limit={FILE_BYTES + 1}"


def tried(find: Callable[..., T], *given: Any) -> T | CacheError:
    """What is found; or why it is not, where that concerns one commit of several."""
    try:
        return find(*given)
    except Damaged:
        raise
    except CacheError as error:
        return error


def get_blobs(
    fetch: Fetch,
    jobs: Sequence[Job],
    sources: Sequence[GitSource | CacheError],
    whole: set[str],
) -> None:
    """Get them, in at most two questions: what pyproject.toml says, then the files.

    What is wrong with one tree is passed over here: whoever keeps its files meets it again.

    Args:
        fetch: The conversation.
        jobs: What is wanted.
        sources: The tree of each, or why there is none.
        whole: The commits that came with their blobs.
    """
    trees = [(j, s) for j, s in zip(jobs, sources, strict=True) if isinstance(s, GitSource)]
    stated = [
        oid
        for job, source in trees
        if None in (job.wanted.roots, job.wanted.shared, job.wanted.include)
        and isinstance(oid := tried(_pyproject, source), str)
    ]
    if stated:
        fetch.get(list(dict.fromkeys(stated)), None, None)
    chosen = [
        (job, source, choice)
        for job, source in trees
        for asked in [(job.wanted.roots, job.wanted.shared, job.wanted.include)]
        if isinstance(choice := tried(choose, source, *asked), Choice)
    ]
    # Folders first; then single blobs in a question of their own, because a filter would hold
    # large ones back.
    for find, spec in ((_folders, SMALL_BLOBS), (_single, None)):
        wants = {
            oid: job
            for job, source, choice in chosen
            if (choice.include if find is _single else job.commit not in whole)
            and isinstance(oids := tried(find, fetch, job, source, choice.selection), list)
            for oid in oids
        }
        if not wants:
            continue
        try:
            fetch.get(list(wants), None, spec)
        except (CommitNotFound, Unreachable):
            for anchor in dict.fromkeys(job.anchor for job in wants.values()):
                fetch.get([anchor], 1, None)


def _pyproject(source: GitSource) -> str | None:
    for entry in source.entries(source.tree):
        if entry.name == "pyproject.toml" and entry.mode in (0o100644, 0o100755):
            return entry.oid if entry.oid not in source.objects else None
    return None


def _missing(source: GitSource, selection: Selection) -> Iterator[tuple[str, str]]:
    for path, item in source.walk(selection.descends):
        if item.mode != GITLINK and selection.takes(path) and item.oid not in source.objects:
            yield path, str(item.oid)


def _folders(fetch: Fetch, job: Job, source: GitSource, selection: Selection) -> list[str]:
    """Ids of the roots in which files are missing, as the server knows them."""
    missing = [path for path, _ in _missing(source, selection)]
    anchor = source
    if missing and job.anchor != job.commit:
        anchor = source_at(fetch.objects(), job.anchor, "The origin")
    lacking = [
        root
        for root in selection.roots
        if any(root == "." or path.startswith(root + "/") for path in missing)
    ]
    return [oid for root in lacking if (oid := anchor.folder(root)) is not None]


def _single(fetch: Fetch, job: Job, source: GitSource, selection: Selection) -> list[str]:
    """Ids of the files that `include` names and that no root has brought."""
    del fetch, job
    return [oid for path, oid in _missing(source, selection) if selection.named(path)]
