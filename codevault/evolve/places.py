"""Where a cause lies in the sources: own classes and the names that matter in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codevault.evolve.diagnosis import Cause


@dataclass(frozen=True, slots=True)
class Place:
    """What to look for in the sources of each commit.

    Attributes:
        targets: Own classes or functions, of either side.
        names: Parameters, fields or attributes of them; none means the definition as a whole.
        stated: Whether what the source says of the names is the cause itself, so that its first
            change brought it; what only leads to the cause may have changed for other reasons.
    """

    targets: tuple[Any, ...]
    names: tuple[str, ...] = ()
    stated: bool = False

    def at(self, *names: str) -> Place:
        """The same classes, other names."""
        return Place(self.targets, names)


@dataclass(frozen=True, slots=True)
class Found:
    """A cause, and where it lies; None where no source line can have brought it."""

    cause: Cause
    place: Place | None = None
