"""The one warning of each old name, and none for what the old names make themselves."""

from __future__ import annotations

import contextlib
import warnings
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_inside: Final[ContextVar[bool]] = ContextVar("codevault_compat_inside", default=False)


def deprecated(name: str, instead: str) -> None:
    """Warns the caller of the caller that `name` goes, and names what replaces it."""
    if not _inside.get():
        text = f"codevault.compat.{name} is deprecated: use {instead}"
        warnings.warn(text, DeprecationWarning, stacklevel=3)


@contextlib.contextmanager
def inside() -> Iterator[None]:
    """Old names that are used by old names do not warn."""
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)
