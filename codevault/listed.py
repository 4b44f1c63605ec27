"""What a caller gives as a list of texts: one text alone would be taken for its letters."""

from __future__ import annotations

import os
from typing import Any

from codevault.errors import UsageError


def must_be_listed(**given: Any) -> None:
    """Refuses a text, or a path, where a list of them is meant.

    Args:
        given: By the names of parameters, what was given for them.

    Raises:
        UsageError: It names the first of them, and how it is written.
    """
    for name, value in given.items():
        if isinstance(value, str | bytes | os.PathLike):
            raise UsageError(
                f"{name}={value!r} is one text, and a list of them is meant",
                "",
                f"{name}=[{os.fspath(value)!r}]",
            )
