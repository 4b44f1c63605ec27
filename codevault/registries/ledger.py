"""Who registered what in this process, as far as somebody saw it; decides about further claims."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from codevault.registries.conflict import refusal
from codevault.registries.registrant import behind

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from codevault.registries.registrant import Registrant

Key = tuple["Hashable", ...]
Parts = dict[str, Any]
"""What is registered: the name of each part to the function or value."""


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


def is_there(claim: Claim, who: Registrant) -> bool:
    """Whether the same code is registered already; False if the registry itself shall decide.

    Raises:
        RegistrationError: Other code is registered, by somebody else, and a snapshot takes part.
    """
    if claim.existing is None:
        return False
    holders = registrants(claim.key) or ((claim.holder,) if claim.holder else ())
    if not holders and claim.under is not None:
        holders = registrants(claim.under)
    holders = holders or (behind(claim.existing.values()),)
    others = [holder for holder in holders if holder.splint != who.splint]
    if not others:
        return False
    from codevault.registries.sameness import difference  # only where two meet

    where = difference(claim.existing, claim.parts)
    if where is not None:
        raise refusal(claim.registry, claim.name, others[0], who, where)
    entry = _entries.setdefault(claim.key, _Entry(list(holders), _weak_parts(claim.existing)))
    if who not in entry.registrants:
        entry.registrants.append(who)
    if isinstance(entry.keep, weakref.ref):
        entry.keep = entry.keep()  # two depend on it now
    return True


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
