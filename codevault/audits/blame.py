"""Who made a change: the old code, or a library that was first imported meanwhile."""

from __future__ import annotations

import itertools
import re
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from codevault.audits import patches
from codevault.audits.check import ABSENT
from codevault.audits.wording import homes_of, is_own
from codevault_importhook import split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault.audits.check import Change, Check

_OURS: Final = ("codevault", "codevault_importhook", "codevault_cache")
_PREFIX: Final = "_splint_"


class Blame:
    """What is known of one load, from the modules before it and after it.

    A change that carries its maker (a function, a class, an instance of one) is decided by the
    maker. Any other is the old code's if nothing else was imported meanwhile; and if something was,
    where the old code's text names it.
    """

    def __init__(self, splint: str, shared: Sequence[str], known: dict[str, object]) -> None:
        self._splint = splint or _PREFIX
        self._shared = tuple(shared)
        self._known = known
        self._new = frozenset(name for name in _behind(known) if name not in known)
        self._others = any(
            split(name) is None and name.partition(".")[0] not in _OURS for name in self._new
        )

    def is_old(self, change: Change, check: Check) -> bool:
        """Whether the old code, or a shared function that it called, made a change for others.

        What is registered for a class of its own concerns nobody else.
        """
        parts = change.key if isinstance(change.key, tuple) else (change.key,)
        if any(isinstance(part, type) and is_own(part) for part in parts):
            return False
        homes = [*homes_of(change.after), *homes_of(change.key)]
        if any(home.partition(".")[0] in _OURS for home in homes):
            return False
        if any(home.startswith(self._splint) for home in homes) or check.blame is None:
            return True
        if self._may_be_its_own(change, check, homes):
            return self._is_named(change, check)
        if any(self._is_shared(home) for home in homes) or not self._others:
            return True
        return self._is_named(change, check)

    def _may_be_its_own(self, change: Change, check: Check, homes: list[str]) -> bool:
        """Whether a library or a module may have done this to itself, as lazy imports do."""
        if any(home in self._new for home in homes):
            return True
        if check.area != patches.AREA:
            return False
        holder = str(change.key[0])
        if any(f"{holder}.".startswith(f"{home}.") for home in homes):
            return True
        value = change.after if change.before is ABSENT else change.before
        return not (callable(value) or hasattr(type(value), "__get__"))

    def _is_shared(self, module: str) -> bool:
        """Whether a module is shared and was loaded before: the application's, and at work."""
        return module in self._known and any(
            module == name or module.startswith(f"{name}.") for name in self._shared
        )

    def _is_named(self, change: Change, check: Check) -> bool:
        key = "|".join(map(re.escape, check.spell(change.key).split("|")))
        patterns = (template.replace("{key}", f"(?:{key})") for template in check.blame or ())
        return any(re.search(pattern, self.text) for pattern in patterns)

    @cached_property
    def text(self) -> str:
        """The source of the old code's loaded modules."""
        return "\n".join(
            _source(sys.modules.get(name))
            for name in list(sys.modules)
            if name.startswith(self._splint)
        )


def _behind(known: dict[str, object]) -> list[str]:
    """The names that stand in `sys.modules` behind the last of those that were there: new ones do.

    Read from the end, so that the modules of hundreds of versions are not looked through.
    """
    last = next(reversed(known), None)
    try:
        return list(itertools.takewhile(lambda name: name != last, reversed(sys.modules)))
    except RuntimeError:  # another thread imports meanwhile
        return list(sys.modules)


def _source(module: Any) -> str:
    loader: Any = getattr(getattr(module, "__spec__", None), "loader", None)
    try:
        return loader.get_source(module.__name__) or ""
    except Exception:  # no source, or none that can be read: then it names nothing
        return ""
