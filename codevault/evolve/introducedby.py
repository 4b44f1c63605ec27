"""Which commit brought a cause: found in the history of a local clone, without running anything."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from codevault.evolve.diagnosis import Introduced
from codevault.evolve.search import Search
from codevault.splint import Splint
from codevault_cache import find_worktree
from codevault_cache.errors import CacheError
from codevault_cache.gitobjects import object_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from codevault.evolve.places import Found
    from codevault.evolve.sides import Side
    from codevault.manifest import Manifest
    from codevault_cache.commits import Commit

_NO_CLONE: Final = "not searched: no clone with both commits is at hand"
_SUSPECTS: Final = 8
"""Up to how many commits are named where it is one of them; more help nobody."""


def dated(
    found: Sequence[Found], old: Side, new: Side, manifest: Manifest
) -> tuple[list[Found], str]:
    """The causes with the commits that brought them, and which history was searched.

    Each cause is looked for by bisection: the first commit whose source says something else of the
    names that the cause is about, or has the new value there. Where no source shows it, it is one
    of the commits that changed the policy's own modules.
    """
    from codevault_cache.commithistory import chronicle_at

    if manifest.commit is None:
        return list(found), "not searched: the checkpoint's code has no commit"
    if not found:
        return [], "not searched: nothing was found"
    commit = new.code.snapshot.commit if isinstance(new.code, Splint) else None
    if commit is None and not _is_known(new, manifest):
        return list(found), _NO_CLONE
    for place in _clones(new, manifest):
        # A clone that is damaged, or lacks one of the two, is no help; another may be.
        with contextlib.suppress(CacheError), chronicle_at(place) as past:
            newest = commit or past.head
            steps = past.line(manifest.commit, newest) if newest is not None else ()
            if not steps:
                continue
            search = Search(past, steps, _roots(old, new, place), manifest.modules)
            search.clean = manifest.overlay is None and _is_clean(new, search)
            dates = [_dated(each, search) for each in found]
            count = len(steps) - 1
            text = f"{count} commit{'s' * (count != 1)} of {place} searched"
            return dates, text if search.clean else f"{text}; uncommitted changes have no commit"
    return list(found), _NO_CLONE


def _dated(found: Found, search: Search) -> Found:
    if found.place is None:
        return found
    commits = [_introduced(search.steps[step]) for step in search.steps_of(found.place)]
    if len(commits) == 1:
        cause = dataclasses.replace(found.cause, introduced=commits[0])
    else:
        suspects = tuple(commits) if len(commits) <= _SUSPECTS else ()
        cause = dataclasses.replace(found.cause, suspects=suspects)
    return dataclasses.replace(found, cause=cause)


def _introduced(step: Commit) -> Introduced:
    day = datetime.fromtimestamp(step.time, UTC).date().isoformat()
    return Introduced(step.oid, day, step.subject)


def _clones(new: Side, manifest: Manifest) -> Iterable[str]:
    """Local repositories that may have the history: the new code's, the recorded, the folder's."""
    places = [new.place, manifest.repo, find_worktree(os.getcwd())]
    if not isinstance(new.code, Splint):
        places[0] = own_worktree(manifest)
    local = [place.removeprefix("file://") for place in places if place]
    return dict.fromkeys(place for place in local if os.path.isdir(place))


def own_worktree(manifest: Manifest) -> str | None:
    """The git work tree that the application's own modules of these names lie in."""
    files = (_file(sys.modules.get(name)) for name in manifest.modules)
    return next((find_worktree(file) for file in files if file), None)


def _file(module: Any) -> str | None:
    file = getattr(module, "__file__", None)
    return os.path.realpath(file) if isinstance(file, str) else None


def _is_known(new: Side, manifest: Manifest) -> bool:
    """Whether current code was found at all; a folder without a commit may be of any."""
    if isinstance(new.code, Splint):
        return False
    return any(_file(sys.modules.get(name)) for name in manifest.modules)


def _is_clean(new: Side, search: Search) -> bool:
    """Whether the new code is what the newest commit has, as far as the policy's modules go."""
    if isinstance(new.code, Splint):
        return new.code.snapshot.overlay is None
    files = {name: _file(sys.modules.get(name)) for name in search.modules}
    newest = len(search.steps) - 1
    digits = len(search.steps[0].oid)
    blobs = {name: _blob(file, digits) for name, file in files.items() if file}
    return all(blob == search.module(newest, name) for name, blob in blobs.items())


def _blob(file: str, digits: int) -> str | None:
    try:
        with open(file, "rb") as opened:
            return object_id("blob", opened.read(), sha256=digits == 64)
    except OSError:
        return None


def _roots(old: Side, new: Side, place: str) -> list[str]:
    """Folders of the tree that modules may lie in, of both sides."""
    roots: dict[str, None] = {}
    for side in (old, new):
        if isinstance(side.code, Splint):
            roots |= dict.fromkeys(side.code.snapshot.roots)
    for entry in sys.path if not isinstance(new.code, Splint) else ():
        folder = os.path.relpath(os.path.realpath(entry or "."), os.path.realpath(place))
        if not folder.startswith(".."):
            roots[folder] = None
    return list(roots)
