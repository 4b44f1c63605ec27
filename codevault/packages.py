"""Third-party packages: which ones a policy was saved with, and what is installed here."""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from importlib import metadata
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def used_by(modules: Iterable[ModuleType]) -> dict[str, str]:
    """Distributions that modules name globally, with their versions; torch in any case.

    What else the process has loaded (the trainer's logger, say) is not the policy's.
    """
    tops = {"torch"}
    for module in modules:
        for value in list(vars(module).values()):
            name = value.__name__ if isinstance(value, ModuleType) else home_of(value)
            tops.add(str(name).partition(".")[0])
    found = {d for top in tops for d in _distributions().get(top, ())}
    versions = {name: installed(name) for name in sorted(found)}
    return {name: version for name, version in versions.items() if version is not None}


def home_of(value: Any) -> Any:
    """The `__module__` of a value; any object may stand in a module, also one that raises."""
    try:
        return value.__module__
    except Exception:
        return None


def findings(recorded: Mapping[str, str]) -> tuple[str, ...]:
    """One line per recorded distribution that is missing here."""
    here = _installed(tuple(sys.path))
    missing = sorted(name for name in recorded if _normal(name) not in here)
    return tuple(f"{name} {recorded[name]} is not installed here" for name in missing)


def compared(recorded: Mapping[str, str]) -> dict[str, tuple[str, str | None]]:
    """Recorded and installed version (None if missing) of each recorded distribution."""
    return {name: (version, installed(name)) for name, version in sorted(recorded.items())}


def installed(name: str) -> str | None:
    """The installed version of a distribution; None if it is not installed."""
    try:
        return metadata.version(name) or None  # a broken installation has no version
    except metadata.PackageNotFoundError:
        return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def _installed(folders: tuple[str, ...]) -> frozenset[str]:
    """Normalised names of what is installed, by the names of metadata folders: none is opened."""
    found = set()
    for folder in folders:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            stem, dot, kind = name.rpartition(".")
            if dot and kind in ("dist-info", "egg-info"):
                found.add(_normal(stem.partition("-")[0]))
    return frozenset(found)


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()
