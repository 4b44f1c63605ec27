"""The audit of a load: which process-wide state the old code changed, and how to put it back.

    before = take(splint_name, shared)      the state, read by about 90 checks
    ...                                     old code runs
    audit = compare(before)                 what it changed
    audit.restore()                         puts back what can be put back

Random numbers: drawing them is no finding, seeding a generator is. Nothing is imported for the
audit's sake, and what libraries do to themselves when they are first imported meanwhile is not held
against the old code. Only one thing is put back unasked: a default device of `meta`, with which
nothing in the process could compute any more.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from codevault.audits import (
    interpreter,
    libraries,
    logs,
    patches,
    registries,
    seeds,
    system,
    torchstate,
)
from codevault.audits.blame import Blame
from codevault.audits.check import ABSENT, Change, Check
from codevault.audits.findings import Audit, Finding, Undo, mark
from codevault.audits.wording import describe
from codevault.errors import AuditWarning
from codevault.registries.borrowed import borrowed
from codevault_importhook.processlock import unchanged

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

__all__ = [
    "RANDOM",
    "Audit",
    "Before",
    "Finding",
    "Watch",
    "compare",
    "forget",
    "of",
    "take",
    "warn",
    "watching",
]

RANDOM: Final = seeds.AREA
"""The area of the random number generators."""
_CHECKS: Final[tuple[Check, ...]] = (
    *torchstate.CHECKS,
    *libraries.CHECKS,
    *seeds.CHECKS,
    *registries.CHECKS,
    *interpreter.CHECKS,
    *system.CHECKS,
    *logs.CHECKS,
)
"""In the order in which they are read, told and put back."""


@dataclass(frozen=True, slots=True)
class Before:
    """The state of the process before old code ran."""

    splint: str
    shared: tuple[str, ...]
    modules: dict[str, object]
    states: tuple[tuple[Check, Mapping[Any, Any]], ...]


class Watch:
    """What `watching` gives.

    Attributes:
        audit: The audit of its block, once that is left.
    """

    def __init__(self, before: Before | None = None) -> None:
        self.audit = Audit()
        self._before = before
        self._early: list[Finding] = []

    def settle(self) -> None:
        """Puts a default device of `meta` back now rather than when the block is left."""
        if self._before is not None:
            self._early += _leave_meta(self._before)

    def finish(self, kept: Collection[str]) -> None:
        """Sees what has changed."""
        if self._before is not None:
            self.audit = Audit(tuple(self._early)) + compare(self._before, kept)


def take(splint: str = "", shared: Sequence[str] = ()) -> Before:
    """Reads the state of the process.

    Args:
        splint: The name of the splint whose code will run; empty for any.
        shared: Dotted prefixes of the modules that it shares with the application: they are swept
            for patches.
    """
    found = []
    for check in (*_CHECKS, *patches.sweep(shared)):
        state = check.now()
        if state is None and check.module not in sys.modules:
            state = check.fresh
        if state is not None:
            found.append((check, state))
    (modules,) = (state for check, state in found if check.name == interpreter.MODULES)
    return Before(splint, tuple(shared), cast("dict[str, object]", modules), tuple(found))


def compare(before: Before, kept: Collection[str] = ()) -> Audit:
    """What has changed since `before`.

    Args:
        before: What `take` gave.
        kept: Areas that the caller puts back itself, such as `RANDOM`: they are reported, and
            change no results.
    """
    blame = Blame(before.splint, before.shared, before.modules)
    findings = _leave_meta(before)
    undo: list[Undo] = []
    for check, old in before.states:
        new = check.now(old)
        changes = [] if new is None else check.changes(old, new)
        changes = [change for change in changes if blame.is_old(change, check)]
        if new is None or not changes:
            continue
        is_kept = check.area in kept
        findings.append(_finding(check, changes, is_kept))
        if check.put is not None and not is_kept:
            undo += [_undo(check, new, change) for change in changes]
    known = of(before.splint).findings
    findings += [f for f in borrowed(before.splint, before.shared, blame) if f not in known]
    findings.sort(key=lambda finding: not finding.changes_results)
    return Audit(tuple(findings), tuple(undo))


@contextlib.contextmanager
def watching(
    splint: str | None, shared: Sequence[str] = (), kept: Collection[str] = ()
) -> Iterator[Watch]:
    """Audits what runs inside, and keeps the result under the splint's name for `of`.

    Inside another one of the same thread or task it does nothing: the outer one sees it all.

    Args:
        splint: The name of the splint whose code runs; None watches nothing.
        shared: As for `take`.
        kept: As for `compare`.
    """
    if splint is None or _watched.get():
        yield Watch()
        return
    with unchanged():
        watch = Watch(take(splint, shared))
    token = _watched.set(True)
    try:
        yield watch
    finally:
        _watched.reset(token)
        with unchanged():
            watch.finish(kept)
        if watch.audit:
            _audits[splint] = of(splint) + watch.audit


def of(splint: str) -> Audit:
    """All that was found of one splint's code in this process."""
    return _audits.get(splint, Audit())


def forget(splint: str) -> None:
    """Drops what was found: it holds what the application had before."""
    _audits.pop(splint, None)


def warn(audit: Audit, restore: str, stacklevel: int = 2) -> None:
    """Issues one `AuditWarning` that lists the findings that change results, if there are any.

    Args:
        audit: What was found.
        restore: The line that puts it back, for whoever reads the warning.
        stacklevel: As for `warnings.warn`.
    """
    findings = [str(finding) for finding in audit.findings if finding.changes_results]
    if findings:
        text = (
            f"the old code changed what this whole process computes with: {'; '.join(findings)}. "
            f"Put it back: {restore}"
        )
        warnings.warn(text, AuditWarning, stacklevel + 1)


_watched: Final[contextvars.ContextVar[bool]] = contextvars.ContextVar(
    "codevault_watched", default=False
)
_audits: Final[dict[str, Audit]] = {}


def _finding(check: Check, changes: Sequence[Change], is_restored: bool) -> Finding:
    before, after = describe(check, changes)
    replaced = any(change.before is not ABSENT for change in changes)
    alters = check.alters == "always" or (check.alters == "replaced" and replaced)
    return Finding(
        name=check.name,
        area=check.area,
        before=before,
        after=after,
        changes_results=alters and not is_restored,
        restorable=is_restored or check.put is not None,
        is_restored=is_restored,
    )


def _undo(check: Check, state: Mapping[Any, Any], change: Change) -> Undo:
    left = None if check.moves else mark(check.get(state, change.key))
    return Undo(check, change.key, change.before, left)


def _leave_meta(before: Before) -> list[Finding]:
    """Puts back a default device of `meta`: nothing, the audit included, could compute with it."""
    for check, old in before.states:
        if check.name == torchstate.DEFAULT_DEVICE and check.put is not None:
            new = check.now()
            if new is not None and new[""] == "meta" != old[""]:
                check.put(sys.modules[check.module], "", old[""])
                return [_finding(check, check.changes(old, new), True)]
    return []
