"""The diagnosis of a checkpoint against newer code: all causes at once, as a value and as text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import Any, Final, Literal

Family = Literal["config", "keys", "shapes", "packages", "probe"]

FAMILIES: Final[tuple[Family, ...]] = ("config", "keys", "shapes", "packages", "probe")
_FEW: Final = 5
"""How many causes of a family the text shows; `--json` has all."""
_LINES: Final = 3
"""How many lines of a cause."""
_WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class Introduced:
    """The commit that brought a cause.

    Attributes:
        commit: Its full id.
        date: The day of the commit, `YYYY-MM-DD` in UTC.
        subject: The first line of its message.
    """

    commit: str
    date: str
    subject: str

    def __str__(self) -> str:
        return f"{self.commit[:10]} {self.date} {self.subject}"


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that keeps old weights from running in the new code, or from behaving there.

    Attributes:
        family: Where it belongs.
        kind: config: `renamed`, `removed`, `added`, `required`, `default`, `value`, `moved`,
            `gone`, `raised`; keys: `renamed`, `asked`, `dropped`, `added`; shapes: `code`,
            `environment`, `outside`, `unknown`; packages: `suspect`, `missing`, `lacking`; probe:
            `differs`, `raised`.
        name: The field, key, package or output.
        text: One line for people.
        old: Of the old code or the file, plain data.
        new: Of the new code, plain data.
        introduced: The commit that brought it; None where that is not known.
        suspects: Where it is not known: commits of which one brought it, or several together.
    """

    family: Family
    kind: str
    name: str
    text: str
    old: Any = None
    new: Any = None
    introduced: Introduced | None = None
    suspects: tuple[Introduced, ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found; falsy if nothing was.

    Attributes:
        uri: The checkpoint.
        old: Its code, for people.
        new: The code that it was held against, for people.
        causes: All that was found, by family.
        checked: What was looked at and what not, one sentence for each family.
        works: The line that runs the policy today, which was tried; None if nothing does.
        proof: What the trial of that line gave.
        next: The command to move on with.
        history: Which history was searched for commits, or why none was.
    """

    uri: str
    old: str
    new: str
    causes: tuple[Cause, ...]
    checked: dict[Family, str]
    works: str | None
    proof: str
    next: str
    history: str

    def __bool__(self) -> bool:
        return bool(self.causes)

    def as_data(self) -> dict[str, Any]:
        """All of it as plain data, with `ok`: whether nothing was found."""
        return {"ok": not self.causes, **asdict(self)}

    def __str__(self) -> str:
        lines = [self.uri, f"old code  {self.old}", f"new code  {self.new}", ""]
        for number, family in enumerate(FAMILIES, 1):
            lines += _family(f"[{number}] {family}", self.of(family), self.checked[family])
        lines += ["", *_wrapped("history", self.history)]
        lines.append(f"{'works today':<13}{self.works or 'nothing that was tried'}")
        lines += _wrapped("", self.proof)
        lines.append(f"{'to move on':<13}{self.next}")
        return "\n".join(lines)

    def of(self, family: Family) -> tuple[Cause, ...]:
        """The causes of one family."""
        return tuple(cause for cause in self.causes if cause.family == family)


def _wrapped(label: str, text: str) -> list[str]:
    """A label, and text beside it: long lines are continued below, further in."""
    lines: list[str] = []
    for line in text.splitlines() or [""]:
        start = " " * (len(line) - len(line.lstrip()))
        lines += wrap(line.strip(), _WIDTH, initial_indent=start, subsequent_indent=f"{start}  ")
    lines = lines or [""]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], "…"]
    return [f"{label if not place else '':<13}{line}".rstrip() for place, line in enumerate(lines)]


def _family(label: str, causes: tuple[Cause, ...], checked: str) -> list[str]:
    if not causes:
        return _wrapped(label, checked)
    lines: list[str] = []
    for cause in causes[:_FEW]:
        lines += _wrapped("" if lines else label, cause.text)
        if cause.introduced is not None:
            lines += _wrapped("", f"  since {cause.introduced}")
        elif cause.suspects:
            named = ", ".join(each.commit[:10] for each in cause.suspects)
            lines += _wrapped("", f"  since one of {named}")
    if len(causes) > _FEW:
        lines.append(f"{'':<13}and {len(causes) - _FEW} more  (--json has all)")
    if checked:
        lines += _wrapped("", checked)
    return lines
