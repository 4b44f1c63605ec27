"""Names under which snapshots stand in `sys.modules`: made, parsed and stripped only here."""

from __future__ import annotations

import hashlib
import re
from typing import Final

PREFIX: Final = "_splint_"
WIDTH: Final = len(PREFIX) + 12 + 1 + 12
"""Every splint name has this many characters, so that compiled code can be moved between them."""

_PATTERN: Final = re.compile(r"_splint_[0-9a-f]{12}_[0-9a-f]{12}")


def make(commit12: str, spec12: str) -> str:
    """The splint name for two groups of 12 hex digits.

    Raises:
        ValueError: The groups are not 12 lower-case hex digits each.
    """
    name = f"{PREFIX}{commit12}_{spec12}"
    if not is_splint(name):
        raise ValueError(f"no splint name: {name!r}")
    return name


def is_splint(name: str) -> bool:
    """Whether `name` is a splint's own name, with nothing behind it."""
    return _PATTERN.fullmatch(name) is not None


def split(module: str) -> tuple[str, str] | None:
    """`("_splint_…", "metta.agent")` for an isolated module's name; None for any other name.

    The second part is empty for the splint itself.
    """
    if not module.startswith(PREFIX):
        return None
    splint, dot, original = module[:WIDTH], module[WIDTH : WIDTH + 1], module[WIDTH + 1 :]
    if not is_splint(splint) or (dot, bool(original)) not in ((".", True), ("", False)):
        return None
    return splint, original


def is_text(name: str) -> bool:
    """Whether a name is Unicode; one of a file whose name is not holds lone surrogates."""
    return name.isascii() or not any("\ud800" <= char <= "\udfff" for char in name)


def strip(module: str) -> str:
    """The original name: `_splint_….metta.agent` gives `metta.agent`, other names themselves."""
    parts = split(module)
    return module if parts is None or not parts[1] else parts[1]


def placeholder(source: bytes) -> str:
    """The name that stands for the splint's in the compiled code of `source`.

    It is made from the source's hash, so the source itself cannot contain it.
    """
    digest = hashlib.sha256(source).hexdigest()
    return f"{PREFIX}{digest[:12]}_{digest[12:24]}"
