"""What an audit found, and how each finding is put back."""

from __future__ import annotations

import sys
import weakref
from dataclasses import dataclass, field
from typing import Any

from codevault.audits.check import Check, same


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of process-wide state that old code changed.

    Attributes:
        name: What was changed.
        area: The part of the process it belongs to.
        before: What was there, shortly; of environment variables only names.
        after: What is there now.
        changes_results: Whether other code of the process may compute otherwise than before.
        restorable: Whether `Audit.restore` can put it back.
        is_restored: Whether the load itself put it back.
    """

    name: str
    area: str
    before: str
    after: str
    changes_results: bool
    restorable: bool
    is_restored: bool = False

    def __str__(self) -> str:
        done = " (put back)" if self.is_restored else ""
        return f"{self.name}: {self.before} -> {self.after}{done}"


@dataclass(frozen=True, slots=True)
class Undo:
    """What puts one change back; `mark` tells whether it still stands."""

    check: Check
    key: Any
    before: Any
    mark: Any


@dataclass(frozen=True, slots=True)
class Audit:
    """What old code changed in the process.

    Attributes:
        findings: One for each piece of state, those that change results first.
    """

    findings: tuple[Finding, ...] = ()
    _undo: tuple[Undo, ...] = field(default=(), repr=False, compare=False)

    def __bool__(self) -> bool:
        return bool(self.findings)

    def __add__(self, later: Audit) -> Audit:
        """The findings of two loads of the same code; `later` came after this one."""
        findings = dict.fromkeys((*self.findings, *later.findings))  # a hundred loads find the same
        return Audit(tuple(findings), (*later._undo, *self._undo))

    def restore(self) -> tuple[str, ...]:
        """Puts back what can be put back; of random numbers, to where they were before the load.

        What was changed again since, by whomever, stays as it is.

        Returns:
            One line for each thing that is not as it was before.
        """
        stuck = [f"{f.name}: nothing can put it back" for f in self.findings if not f.restorable]
        for undo in self._undo:
            why = _put_back(undo)
            if why:
                stuck.append(f"{undo.check.name}: {why}")
        return tuple(dict.fromkeys(stuck))


def _put_back(undo: Undo) -> str:
    """Why it could not be put back; empty if it was, or stands as it did already."""
    check, state = undo.check, undo.check.now()
    assert check.put is not None
    if state is None:
        return "it can no longer be read"
    if not check.moves:
        value = check.get(state, undo.key)
        if same(value, undo.before):
            return ""
        if mark(value) != undo.mark:
            return "it was changed again since"
    try:
        check.put(sys.modules[check.module], undo.key, undo.before)
    except Exception as error:  # whatever a library raises: the caller is told
        return f"{type(error).__name__}: {error}"
    if check.moves or same(check.get(check.now() or {}, undo.key), undo.before):
        return ""
    return "putting it back had no effect"


def mark(value: Any) -> Any:
    """Tells a value again later, and does not keep old code's objects alive."""
    if isinstance(value, tuple | frozenset):
        return type(value), tuple(map(mark, value))
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    try:
        return weakref.ref(value)
    except TypeError:
        return id(value)
