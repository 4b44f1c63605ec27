"""Third-party packages: which ones a policy was saved with, and what is installed here."""

from __future__ import annotations

import sys
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def imported() -> dict[str, str]:
    """Distributions of which a module is loaded now, with their versions."""
    names = {name.partition(".")[0] for name in list(sys.modules)}
    found = {d for top, ds in _distributions().items() if top in names for d in ds}
    return {name: metadata.version(name) for name in sorted(found)}


def findings(recorded: Mapping[str, str]) -> tuple[str, ...]:
    """One line per recorded distribution that is missing here."""
    return tuple(f"{name} {version} is not installed here" for name, version in _missing(recorded))


def compared(recorded: Mapping[str, str]) -> dict[str, tuple[str, str | None]]:
    """Recorded and installed version (None if missing) of each recorded distribution."""
    return {name: (version, installed(name)) for name, version in sorted(recorded.items())}


def installed(name: str) -> str | None:
    """The installed version of a distribution; None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _missing(recorded: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    return [(n, v) for n, (v, here) in compared(recorded).items() if here is None]


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()
