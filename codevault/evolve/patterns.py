"""Patterns of state_dict keys: whole segments from the first on, `*` for any one segment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """What a pattern left open in a key: the segments at its stars, and those after its end."""

    stars: tuple[str, ...]
    rest: tuple[str, ...]


def match(pattern: str, key: str) -> Found | None:
    """How a pattern names a key, or a module that the key is in; None if it does not.

    `critic.q1` names `critic.q1.weight` and `critic.q1`, never `critic.q10.weight`.
    """
    wanted, there = pattern.split("."), key.split(".")
    if len(wanted) > len(there):
        return None
    pairs = list(zip(wanted, there, strict=False))
    if any(segment not in ("*", name) for segment, name in pairs):
        return None
    stars = tuple(name for segment, name in pairs if segment == "*")
    return Found(stars, tuple(there[len(wanted) :]))


def write(pattern: str, found: Found) -> str:
    """The key that a pattern names where another left `found` open; stars keep their order."""
    stars = iter(found.stars)
    named = [next(stars) if segment == "*" else segment for segment in pattern.split(".")]
    return ".".join([*named, *found.rest])


def fault(pattern: str) -> str:
    """A predicate that says why a text is no pattern; or nothing."""
    segments = pattern.split(".")
    if not all(segments):
        return "has an empty segment"
    if any("*" in segment and segment != "*" for segment in segments):
        return "has a * that is not a whole segment"
    return "cannot be printed" if not pattern.isprintable() else ""
