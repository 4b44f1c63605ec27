"""A break: what changed in one release of a package, and which two versions it lies between."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import zip_longest


@dataclass(frozen=True, slots=True)
class Break:
    """One change of one package.

    Attributes:
        package: The distribution, or `python`.
        since: The first release with the change.
        symptom: What a user sees.
        source: Where it is written down.
        removed: Names that are gone from that release on: newer packages break older code.
        added: Names that came with it: older packages break newer code.
        changed: Names that do something else from then on, either way.
        until: The first release in which the old way works again; empty if there is none.
    """

    package: str
    since: str
    symptom: str
    source: str
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    until: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the line."""
        return (*self.removed, *self.added, *self.changed)


def crossed(line: Break, recorded: str, here: str) -> tuple[str, ...] | None:
    """The names that matter between two versions; () if any use does, None if the line does not."""
    old, new = _has(line, recorded), _has(line, here)
    if old == new:
        return None
    if not line.names:
        return ()
    return (*line.changed, *(line.removed if new else line.added)) or None


def _has(line: Break, version: str) -> bool:
    """Whether a version has the change of a line."""
    late = bool(line.until) and not older(version, line.until)
    return not older(version, line.since) and not late


def older(version: str, other: str) -> bool:
    """Whether a version comes before another; a pre-release counts as its release."""
    pairs = list(zip_longest(_release(version), _release(other), fillvalue=0))
    return [a for a, _ in pairs] < [b for _, b in pairs]


def _release(version: str) -> tuple[int, ...]:
    found = re.match(r"v?(?:\d+!)?(\d+(?:\.\d+)*)", version)
    return tuple(map(int, found[1].split("."))) if found else ()
