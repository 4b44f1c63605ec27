"""The search of a past for the commits that changed what the sources say of a place."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from codevault.evolve.facts import definition, said, shows
from codevault_cache.gitobjects import TREE
from codevault_importhook import strip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from codevault.evolve.places import Place
    from codevault_cache.commithistory import Chronicle
    from codevault_cache.commits import Commit

    Spots = Sequence[tuple[str, str]]
    """Modules, and qualified names in them."""

_STEPS: Final = 2000
"""Up to how many commits are looked at one by one, where bisection alone does not decide."""


class Search:
    """A search in one past; what was read once is kept.

    Attributes:
        steps: The commits, the oldest first.
        modules: The policy's own modules.
        clean: Whether the code of the first and the last is what runs, without other changes.
    """

    def __init__(
        self,
        past: Chronicle,
        steps: Sequence[Commit],
        roots: Sequence[str],
        modules: Sequence[str],
    ) -> None:
        self.steps = steps
        self.clean = False
        self.modules = modules
        self._past = past
        self._starts = ["" if root == "." else f"{root}/" for root in roots]
        self._paths: dict[str, str] = {}
        self._facts: dict[tuple[str, str, tuple[str, ...]], str | None] = {}
        self._last = len(steps) - 1

    def steps_of(self, place: Place) -> Sequence[int]:
        """The step that brought what a place says now; several if it is one of them.

        Where the names do not show it, all that changed the policy's own modules.
        """
        at: Place | None = place
        while at is not None:
            spots = _spots(at.targets)
            found: Sequence[int] = ()
            if at.names:
                found = self._of_names(spots, at)
            elif spots:
                found = self._first(partial(self._is_there, spots[0]))
            if found:
                return found
            at = at.outer
        return self._changes(self._files) if self.clean else ()

    def _is_there(self, spot: tuple[str, str], step: int) -> bool:
        return self._of(step, *spot, ()) is not None

    def module(self, step: int, module: str) -> str | None:
        """The id of a module's source as of a step; None if there was no such module."""
        known = self._paths.get(module)
        oid = None if known is None else self._file(step, known)
        if oid is not None:
            return oid
        inner = module.replace(".", "/")
        for start in self._starts:
            for end in (f"{inner}.py", f"{inner}/__init__.py"):
                oid = self._file(step, f"{start}{end}")
                if oid is not None:
                    self._paths[module] = f"{start}{end}"
                    return oid
        return None

    def _file(self, step: int, path: str) -> str | None:
        found = self._past.entry(self.steps[step].tree, path)
        return None if found is None or found.mode == TREE else found.oid

    def _of_names(self, spots: Spots, place: Place) -> Sequence[int]:
        """The step that brought or took a name, or else what is said of it, or a sign in that."""

        def there(step: int) -> list[bool]:
            return [any(self._said(step, spots, (name,))) for name in place.names]

        def text(step: int) -> tuple[str | None, ...]:
            return self._said(step, spots, place.names)

        def shown(step: int) -> bool:
            parts = list(filter(None, text(step)))
            return any(shows(part, sign) for part in parts for sign in place.signs or ())

        if place.signs is not None:
            return self._first(shown) if shown(self._last) else ()
        return self._first(there) or (self._first(text) if place.stated else ())

    def _first(self, fact: Callable[[int], Any]) -> Sequence[int]:
        """The first step with another fact than the oldest one, by bisection."""
        low, high, before = 0, self._last, fact(0)
        if before == fact(high):
            return ()
        while high - low > 1:
            middle = (low + high) // 2
            if fact(middle) == before:
                low = middle
            else:
                high = middle
        return (high,) if self._follows(high) else ()

    def _changes(self, fact: Callable[[int], Any]) -> Sequence[int]:
        """All steps with another fact than the one before, if the newest is not the oldest's."""
        if fact(0) == fact(self._last) or self._last > _STEPS:
            return ()
        facts = [fact(step) for step in range(self._last + 1)]
        changed = [step for step in range(1, len(facts)) if facts[step] != facts[step - 1]]
        return changed if all(map(self._follows, changed)) else ()

    def _follows(self, step: int) -> bool:
        """Whether a step's parent is the one before: the old commit may lie on another line."""
        return self.steps[step - 1].oid in self.steps[step].parents

    def _said(self, step: int, spots: Spots, names: tuple[str, ...]) -> tuple[str | None, ...]:
        return tuple(self._of(step, module, qualname, names) for module, qualname in spots)

    def _of(self, step: int, module: str, qualname: str, names: tuple[str, ...]) -> str | None:
        oid = self.module(step, module)
        if oid is None:
            return None
        key = oid, qualname, names
        if key not in self._facts:
            source = dict(self._past.files([oid])).get(oid)
            node = None if source is None else definition(source, qualname)
            self._facts[key] = None if node is None else said(node, names)
        return self._facts[key]

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
