"""What is asked of a migration, and the command line that says it, for hints and scripts."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from codevault.uri import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault.load import Overlay


@dataclass(frozen=True, slots=True)
class Request:
    """What shall be moved, and where.

    Attributes:
        uri: The checkpoint.
        to: The newer code; None for the work tree around this folder.
        rules: Rules files, in order; None for those of the newer code.
        roots: Folders of the newer code's import path; None for what it states.
        overlay: Files laid over a commit, or None.
    """

    uri: str
    to: str | None
    rules: Sequence[str] | None
    roots: Sequence[str] | None
    overlay: Overlay

    def words(self, *more: str) -> list[str]:
        """The words of the command line, after `codevault`; `more` come last."""
        words = ["migrate", self.uri, *(() if self.to is None else ("--to", self.to))]
        words += [word for root in self.roots or () for word in ("--roots", root)]
        if isinstance(self.overlay, str | os.PathLike):
            words += ["--overlay", os.fspath(self.overlay)]
        words += [word for path in self.rules or () for word in ("--rules", path)]
        return [*words, *more]

    def command(self, *more: str) -> str:
        """The whole line, quoted for a shell, without what may not be printed."""
        return shlex.join(["codevault", *replace(self, uri=shown(self.uri)).words(*more)])


def request_of(
    uri: str | os.PathLike[str],
    to: str | os.PathLike[str] | None,
    rules: Sequence[str | os.PathLike[str]] | None,
    roots: Sequence[str] | None,
    overlay: Overlay,
) -> Request:
    """A request, of arguments as callers give them."""
    paths = None if rules is None else tuple(os.fspath(path) for path in rules)
    return Request(os.fspath(uri), None if to is None else os.fspath(to), paths, roots, overlay)
