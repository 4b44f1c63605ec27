"""What `[tool.codevault]` of a work tree says, and the rules files that it names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from codevault.errors import RulesError

if TYPE_CHECKING:
    from codevault_cache.selection import Stated


def stated_of(top: str) -> Stated:
    """What the work tree at `top` states; nothing where it has no pyproject.toml."""
    from codevault_cache.selection import stated_in

    try:
        with open(os.path.join(top, "pyproject.toml"), "rb") as file:
            return stated_in(file.read())
    except OSError:
        return stated_in(None)


def migrations_of(top: str) -> tuple[str, ...] | None:
    """Names of the rules files of a work tree, in order; None where it states no folder."""
    folder = stated_of(top).migrations
    if folder is None:
        return None
    try:
        names = os.listdir(os.path.join(top, folder))
    except OSError as error:
        raise RulesError(
            f"{top} has no folder {folder!r}, which its pyproject.toml names",
            str(error),
            f"mkdir {folder}",
        ) from None
    return tuple(sorted(name for name in names if name.endswith(".toml")))
