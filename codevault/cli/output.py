"""What the command prints: text for people, JSON lines for programs, progress for a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click

from codevault.errors import CodevaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


INTERRUPTED = 130
"""What shells report for a command that was ended by Ctrl-C."""


def json_option(command: Callable[..., None]) -> Callable[..., None]:
    """Adds `--json` to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")(command)


def echo(as_json: bool, data: Any, lines: list[str]) -> None:
    """Prints one JSON line, or lines of text."""
    # A file's name need not be text, and must not end the command that names it.
    text = json_line(data) if as_json else "\n".join(lines)
    click.echo(text.encode("utf-8", "backslashreplace").decode())


def json_line(data: Any) -> str:
    """One line of JSON for any reader: what is no Unicode in a file's name is written as text."""
    text = json.dumps(data)
    return json.dumps(_unicode(data)) if "\\ud" in text else text


def _unicode(data: Any) -> Any:
    if isinstance(data, str):
        return data.encode("utf-8", "backslashreplace").decode()
    if isinstance(data, dict):
        return {_unicode(key): _unicode(value) for key, value in data.items()}
    return [*map(_unicode, data)] if isinstance(data, list | tuple) else data


@contextlib.contextmanager
def naming(uri: str) -> Iterator[None]:
    """Puts the checkpoint's address into the line of an error, so that it can be pasted."""
    from codevault.uri import shown

    try:
        yield
    except CodevaultError as error:
        error.hint = re.sub(r"\bURI\b", lambda _: shlex.quote(shown(uri)), error.hint)
        raise


def interrupted(text: str) -> NoReturn:
    """Ends a command that was stopped by Ctrl-C, at once."""
    click.echo(text, err=True)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    # Threads may still wait for a server. The cache is whole whenever a process ends.
    os._exit(INTERRUPTED)


def counted(number: int, noun: str) -> str:
    """How many there are, in words."""
    return f"{number} {noun}{'s' * (number != 1)}"


def amount(size: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


@dataclass(frozen=True, slots=True)
class Bar:
    """How far a command is.

    Attributes:
        step: To be called after each step.
        expect: To be called with the number of steps, once it is known.
    """

    step: Callable[[object], None]
    expect: Callable[[int], None]


@contextlib.contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Bar]:
    """Shows on a terminal how far a command is; what it prints goes where it always goes.

    Args:
        what: What is being done.
        total: How many steps; None where nobody knows yet.
    """
    if not sys.stderr.isatty():
        yield Bar(lambda _: None, lambda _: None)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True, soft_wrap=True)  # what is printed is not broken into lines
    # rich prints lines above its bar, on the bar's terminal: those for a pipe or a file must not be
    # among them.
    both = sys.stdout.isatty()
    with Progress(*columns, console=console, transient=True, redirect_stdout=both) as shown:
        task = shown.add_task(what, total=total)
        yield Bar(lambda _: shown.advance(task), lambda count: shown.update(task, total=count))


class Units(click.ParamType[int]):
    """A number with a unit, such as 2GB or 90d."""

    def __init__(self, name: str, units: dict[str, int]) -> None:
        self.name = name
        self._units = units

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number in bytes or seconds."""
        text = str(value).strip().lower()
        number = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
        factor = self._units.get(text[len(number) :].strip())
        try:
            if factor is not None and float(number) >= 0:
                return int(float(number) * factor)
        except (ValueError, OverflowError):
            pass
        known = ", ".join(unit for unit in self._units if unit)
        text = f"{value!r} is no {self.name}: write a number and one of {known}"
        raise click.BadParameter(text, ctx, param)


_PREFIXES = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BINARY = {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}

SIZE = Units("size", {"": 1, "b": 1, **_PREFIXES, **_BINARY})
AGE = Units("age", {"s": 1, "m": 60, "h": 3600, "d": 86400})
