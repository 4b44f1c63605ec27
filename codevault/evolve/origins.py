"""Which commit brought a cause: found in the history of a local clone, without running anything."""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from codevault.evolve.diagnosis import Introduced
from codevault.evolve.facts import definition, said
from codevault.splint import Splint
from codevault_cache import find_worktree
from codevault_cache.gitobjects import object_id
from codevault_importhook import strip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from codevault.evolve.places import Found, Place
    from codevault.evolve.sides import Side
    from codevault.manifest import Manifest
    from codevault_cache.past import Past


def dated(
    found: Sequence[Found], old: Side, new: Side, manifest: Manifest
) -> tuple[list[Found], str]:
    """The causes with the commits that brought them, and which history was searched.

    Each cause is looked for by bisection: the first commit whose source says something else of the
    names that the cause is about. Where the names do not show it, a commit counts if it is the
    only one that changed the definitions, or the policy's own modules.
    """
    from codevault_cache.past import past

    if manifest.commit is None:
        return list(found), "not searched: the checkpoint's code has no commit"
    if not found:
        return [], "not searched: nothing was found"
    commit = new.code.snapshot.commit if isinstance(new.code, Splint) else None
    for place in _clones(new, manifest):
        with past(place, manifest.commit, commit) as known:
            if known is None:
                continue
            search = _Search(known, _roots(old, new, place), manifest.modules)
            search.clean = manifest.overlay is None and _is_clean(new, search)
            dates = [_dated(each, search) for each in found]
            count = len(known.steps) - 1
            text = f"{count} commit{'s' * (count != 1)} of {place} searched"
            return dates, text if search.clean else f"{text}; uncommitted changes have no commit"
    return list(found), "not searched: no clone with both commits is at hand"


def _dated(found: Found, search: _Search) -> Found:
    if found.place is None:
        return found
    step = search.first(found.place)
    if step is None:
        return found
    commit = search.past.steps[step]
    day = datetime.fromtimestamp(commit.seconds, UTC).date().isoformat()
    introduced = Introduced(commit.commit, day, commit.subject)
    return dataclasses.replace(found, cause=dataclasses.replace(found.cause, introduced=introduced))


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


def _is_clean(new: Side, search: _Search) -> bool:
    """Whether the new code is what the newest commit has, as far as the policy's modules go."""
    if isinstance(new.code, Splint):
        return new.code.snapshot.overlay is None
    files = {name: _file(sys.modules.get(name)) for name in search.modules}
    newest = len(search.past.steps) - 1
    digits = len(search.past.steps[0].commit)
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


class _Search:
    """A search in one past; what was read once is kept.

    Attributes:
        past: The commits.
        modules: The policy's own modules.
        clean: Whether the code of the first and the last is what runs, without other changes.
    """

    def __init__(self, past: Past, roots: Sequence[str], modules: Sequence[str]) -> None:
        self.past = past
        self.clean = False
        self._starts = ["" if root == "." else f"{root}/" for root in roots]
        self.modules = modules
        self._facts: dict[tuple[str, str, tuple[str, ...]], str | None] = {}

    def first(self, place: Place) -> int | None:
        """The step that brought what a place says now; None where that is not certain."""
        spots = _spots(place.targets)
        if place.names:
            step = self._named(spots, place)
            if step is not None:
                return step
        if spots:
            step = self._gone(spots)
            step = step or self._changed(lambda step: self._said(step, spots, ()), alone=True)
            if step is not None:
                return step
        return self._changed(self._files, alone=True) if self.clean else None

    def _named(self, spots: Sequence[tuple[str, str]], place: Place) -> int | None:
        """The step that brought or took a name, or else changed what is said of it."""

        def there(step: int) -> list[bool]:
            return [any(self._said(step, spots, (name,))) for name in place.names]

        if there(0) != there(len(self.past.steps) - 1):
            return self._changed(there, alone=False)
        return self._changed(
            lambda step: self._said(step, spots, place.names), alone=not place.stated
        )

    def _gone(self, spots: Sequence[tuple[str, str]]) -> int | None:
        """The step from which on a definition is not there any more."""

        def there(step: int) -> bool:
            return any(text is not None for text in self._said(step, spots[:1], ()))

        return self._changed(there, alone=False) if not there(len(self.past.steps) - 1) else None

    def _changed(self, fact: Callable[[int], Any], *, alone: bool) -> int | None:
        """The first step with another fact than the oldest one.

        Args:
            fact: What is known of a step.
            alone: Whether it must have brought the newest fact, so that no other step did.
        """
        steps = self.past.steps
        low, high = 0, len(steps) - 1
        before, after = fact(0), fact(high)
        if before == after:
            return None
        while high - low > 1:
            middle = (low + high) // 2
            if fact(middle) == before:
                low = middle
            else:
                high = middle
        # The old commit may lie on another line: then nothing is known of what lies between.
        follows = steps[low].commit in steps[high].parents
        return high if follows and not (alone and fact(high) != after) else None

    def _said(
        self, step: int, spots: Sequence[tuple[str, str]], names: tuple[str, ...]
    ) -> tuple[str | None, ...]:
        return tuple(self._of(step, module, qualname, names) for module, qualname in spots)

    def _of(self, step: int, module: str, qualname: str, names: tuple[str, ...]) -> str | None:
        oid = self.module(step, module)
        if oid is None:
            return None
        key = oid, qualname, names
        if key not in self._facts:
            source = self.past.read(oid)
            node = None if source is None else definition(source, qualname)
            self._facts[key] = None if node is None else said(node, names)
        return self._facts[key]

    def module(self, step: int, module: str) -> str | None:
        """The id of a module's source as of a step; None if there was no such module."""
        inner = module.replace(".", "/")
        for start in self._starts:
            for end in (f"{inner}.py", f"{inner}/__init__.py"):
                oid = self.past.oid(step, f"{start}{end}")
                if oid is not None:
                    return oid
        return None

    def _files(self, step: int) -> tuple[str | None, ...]:
        return tuple(self._of(step, module, "", ()) for module in self.modules)


def _spots(targets: Iterable[Any]) -> list[tuple[str, str]]:
    """Module and qualified name of each target, and of the classes that it inherits from."""
    found: dict[tuple[str, str], None] = {}
    for target in targets:
        kinds = inspect.getmro(target) if isinstance(target, type) else (target,)
        for kind in kinds:
            module = str(getattr(kind, "__module__", None) or "")
            if module not in ("builtins", "") and not module.startswith("torch."):
                found[strip(module), str(getattr(kind, "__qualname__", ""))] = None
    return list(found)
