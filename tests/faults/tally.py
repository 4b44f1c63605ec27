"""Counts of what happened under faults."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """The outcomes of one kind of fault.

    Attributes:
        name: The kind.
        seen: What a reader saw, and how the disturbed process ended, to a count.
        bad: Each state that must never be, with the fault that led to it.
        skipped: Why it could not be tried here; empty if it was.
    """

    name: str
    seen: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def cases(self) -> int:
        return self.seen.total() + len(self.bad)

    def line(self) -> str:
        if self.skipped:
            return f"{self.name:<44} SKIPPED: {self.skipped}"
        seen = ", ".join(f"{count} {what}" for what, count in sorted(self.seen.items()))
        return f"{self.name:<44} {self.cases:5} faults, {len(self.bad)} bad: {seen}"
