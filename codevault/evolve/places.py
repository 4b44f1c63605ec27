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
        targets: Own classes or functions, of either side; none means any of the policy's modules.
        names: Parameters, fields or attributes of them; none means that the first target is there.
        stated: Whether what the source says of the names is the cause itself, so that its first
            change brought it; what only leads to the cause may have changed for other reasons.
        signs: Values of which one came into what is said of the names with the cause; None where
            it is the names themselves that came or went.
        outer: Where to look next: the class that holds an object of this one, and the name of that.
    """

    targets: tuple[Any, ...]
    names: tuple[str, ...] = ()
    stated: bool = False
    signs: tuple[Any, ...] | None = None
    outer: Place | None = None

    def at(self, *names: str) -> Place:
        """The same classes, other names."""
        return Place(self.targets, names)

    def showing(self, *signs: Any) -> Place:
        """The same names, with the values that show the cause."""
        outer = None if self.outer is None else self.outer.showing(*signs)
        return Place(self.targets, self.names, self.stated, signs, outer)


@dataclass(frozen=True, slots=True)
class Found:
    """A cause, and where it lies; None where no source line can have brought it."""

    cause: Cause
    place: Place | None = None
