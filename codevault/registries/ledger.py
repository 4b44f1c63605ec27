"""Who registered what in this process, as far as somebody saw it; decides about further claims."""

from __future__ import annotations

import sys
import weakref
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import codevault_importhook as hook
from codevault.errors import RegistrationError
from codevault.registries.registrant import Registrant, behind

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

Key = tuple["Hashable", ...]
Parts = dict[str, Any]
"""What is registered: the name of each part to the function or value."""


class Unreadable:
    """Stands for registered code that its registry does not give out."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One registration that somebody asks for.

    Attributes:
        registry: What is registered, in words, such as `torch operator`.
        name: Under which name, for people.
        key: The place in the registry.
        parts: What shall stand there.
        existing: What stands there now; None if nothing does.
        accepted: What the caller gets if that is the same.
        under: Another place, whose registrants count where nobody is known for `key`.
        keep: An object with whose end the registration goes.
        holder: Who registered what exists, where the registry tells that and nothing else.
    """

    registry: str
    name: str
    key: Key
    parts: Parts
    existing: Parts | None
    accepted: Any = None
    under: Key | None = None
    keep: Any = None
    holder: Registrant | None = None


@dataclass(slots=True)
class _Entry:
    registrants: list[Registrant]
    parts: dict[str, Any] = field(default_factory=dict)
    keep: Any = None


_entries: dict[Key, _Entry] = {}
refused: dict[str, str] = {}
"""Registrations of snapshots that were refused, and what serves instead; read by the audit, since
old code may pass over the error."""


def parts(key: Key) -> Parts | None:
    """What was registered at `key`, where the registry itself does not tell.

    Functions are held weakly here: they live as long as the registry holds them.
    """
    entry = _entries.get(key)
    if entry is None:
        return None
    found = {label: _read(part) for label, part in entry.parts.items()}
    return None if _GONE in found.values() else found


def registrants(key: Key) -> tuple[Registrant, ...]:
    """Who is known to stand behind `key`."""
    entry = _entries.get(key)
    return () if entry is None else tuple(entry.registrants)


def is_others(key: Key, values: Iterable[object], splint: str | None) -> bool:
    """Whether another version or the application registered what stands at `key`.

    Args:
        key: The place in the registry.
        values: What stands there.
        splint: Who asks; None for the application.
    """
    holders = registrants(key) or (behind(values),)
    return not any(who.splint == splint or who.library or not who.module for who in holders)


def is_there(claim: Claim, who: Registrant) -> bool:
    """Whether the same code is registered already; False if the registry itself shall decide.

    Raises:
        RegistrationError: Other code is registered, by somebody else, and a snapshot takes part.
    """
    if claim.existing is None:
        return False
    holders = _holders(claim, claim.existing)
    others = [holder for holder in holders if holder.splint != who.splint]
    if not others and not any(holder.is_unloaded for holder in holders):
        return False
    from codevault.registries.sameness import difference  # only where two meet

    where = difference(claim.existing, claim.parts)
    if where is not None and not others:
        return False  # what its last mount left behind, and has changed
    if where is not None:
        if who.splint is not None:
            refused[f"{claim.registry} {claim.name!r} of {who}"] = f"that of {others[0]}"
        raise _refusal(claim, others[0], who, where)
    entry = _entries.setdefault(claim.key, _Entry(list(holders), _weak_parts(claim.existing)))
    if who not in entry.registrants:
        entry.registrants.append(who)
    if isinstance(entry.keep, weakref.ref):
        entry.keep = entry.keep()  # two depend on it now
    return True


def leave(splint: str) -> None:
    """Notes that a splint was unloaded: what it registered stays behind."""
    for entry in list(_entries.values()):
        entry.registrants = [
            replace(who, is_unloaded=True) if who.splint == splint else who
            for who in entry.registrants
        ]


def _holders(claim: Claim, existing: Parts) -> tuple[Registrant, ...]:
    holders = registrants(claim.key) or ((claim.holder,) if claim.holder else ())
    if not holders and claim.under is not None:
        holders = registrants(claim.under)
    return holders or (behind(existing.values()),)


def record(claim: Claim, who: Registrant) -> None:
    """Notes a registration that has been made."""
    entry = _entries.get(claim.key)
    if entry is None or claim.existing is None:
        entry = _entries[claim.key] = _Entry([who])
    entry.registrants = [r for r in entry.registrants if r.splint != who.splint] + [who]
    entry.parts = _weak_parts(claim.parts)
    entry.keep = _weak(claim.keep)


_GONE = object()


def _weak_parts(values: Mapping[str, Any]) -> dict[str, Any]:
    return {label: _weak(value) for label, value in values.items()}


def _weak(value: Any) -> Any:
    try:
        return weakref.ref(value)
    except TypeError:
        return value


def _read(part: Any) -> Any:
    if not isinstance(part, weakref.ref):
        return part
    value = part()
    return _GONE if value is None else value


def _refusal(claim: Claim, first: Registrant, second: Registrant, where: str) -> RegistrationError:
    """The error that names both: who holds the place, and who is refused."""
    return RegistrationError(
        f"{claim.registry} {claim.name!r} is registered by {first}, "
        f"and {second} registers other code for it",
        f"a process has one {claim.registry} of a name, so one version would run the other's code; "
        f"they differ: {where}",
        _hint(first, second),
    )


def _hint(first: Registrant, second: Registrant) -> str:
    old = first if second.splint is None else second
    module = hook.strip(old.module)
    if None in (first.splint, second.splint) and module in sys.modules:
        return (
            f'codevault.load_code(repo, commit, shared=["{module}"])'
            "  # both then use the application's"
        )
    if first.library:
        file = f"{module.replace('.', '/')}.py"
        return (
            f'codevault.load_code(repo, commit, overlay={{"{file}": "..."}})'
            "  # the old code without the registration"
        )
    return (
        'multiprocessing.get_context("spawn").Process(target=...).start()'
        "  # load one of the two there, in a process of its own"
    )
