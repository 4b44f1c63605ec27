"""Third-party packages: which ones a policy was saved with, and what is installed here."""

from __future__ import annotations

import contextlib
import inspect
import os
import platform
import re
import sys
import weakref
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from codevault.breaks import crossed, older
from codevault.knownbreaks import BREAKS
from codevault.uses import imports_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one recorded distribution, or of Python itself.

    Attributes:
        package: Its name.
        recorded: The version that the policy was saved with.
        here: The installed one; None if it is missing.
        word: `same`, `compatible` (another version, of which nothing bad is known), `suspect` (a
            known break lies between the two) or `missing`.
        why: One line for each known break, and how it shows.
    """

    package: str
    recorded: str
    here: str | None
    word: Literal["same", "compatible", "suspect", "missing"]
    why: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.here is None:
            return f"{self.package} {self.recorded} is not installed here"
        return "\n    ".join((f"{self.package} {self.recorded}, here {self.here}", *self.why))


def judge(
    python: str, packages: Mapping[str, str], uses: Mapping[str, object] | None
) -> tuple[Verdict, ...]:
    """A verdict on Python and on each recorded distribution; nothing is imported.

    Args:
        python: The recorded version of Python.
        packages: The recorded distributions and their versions.
        uses: Where the old code uses which dotted names; None where that is not known, so that
            every known break between two versions counts.
    """
    rows = [_judged("python", python, platform.python_version(), uses)]
    return (*rows, *(_judged(n, v, installed(n), uses) for n, v in sorted(packages.items())))


def _judged(
    package: str, recorded: str, here: str | None, uses: Mapping[str, object] | None
) -> Verdict:
    if here is None:
        return Verdict(package, recorded, here, "missing")
    why = []
    for line in BREAKS:
        names = crossed(line, recorded, here) if line.package == normal(package) else None
        if names is None:
            continue
        places = [] if uses is None else [f"{n} in {p}" for n, p in uses.items() if _is(n, names)]
        if places or not names or uses is None:
            met = places or (names if names else ["whatever imports it"])
            more = f" and {len(met) - 3} more" if len(met) > 3 else ""
            met_text = ", ".join(met[:3]) + more
            why.append(f"{line.since}: {met_text}: {line.symptom} ({line.source})")
    if why:
        return Verdict(package, recorded, here, "suspect", tuple(why))
    equal = not older(recorded, here) and not older(here, recorded)
    return Verdict(package, recorded, here, "same" if equal else "compatible")


def _is(name: str, known: Iterable[str]) -> bool:
    return any(name == other or name.startswith(f"{other}.") for other in known)


def used_by(modules: Iterable[ModuleType]) -> dict[str, str]:
    """Distributions that modules imported, with their versions; torch in any case.

    What their sources import and is loaded, in functions too, and what their global names come
    from. What else the process has loaded (the trainer's logger, say) is not the policy's.
    """
    names = {"torch"}
    for module in modules:
        for value in list(vars(module).values()):
            names.add(str(value.__name__ if isinstance(value, ModuleType) else home_of(value)))
        names.update(name for name in _imports(module) if _loaded(name))
    found = {d for name in sorted(names) for d in _owners(name)}
    versions = {name: installed(name) for name in sorted(found)}
    return {name: version for name, version in versions.items() if version is not None}


def _imports(module: ModuleType) -> frozenset[str]:
    """What the source of a module imports; nothing where there is none that can be read."""
    if module not in _imported:
        names: set[str] = set()
        with contextlib.suppress(Exception):  # whatever a loader raises: its globals are there
            names = imports_in(inspect.getsource(module))
        _imported[module] = frozenset(names)
    return _imported[module]


_imported: weakref.WeakKeyDictionary[ModuleType, frozenset[str]] = weakref.WeakKeyDictionary()
"""A training run saves the same modules again and again."""


def _loaded(name: str) -> bool:
    return name.partition(".")[0] in sys.modules


def _owners(name: str) -> list[str]:
    """The distributions that a module belongs to: by its file, where several have its top name."""
    owners = list(dict.fromkeys(_distributions().get(name.partition(".")[0], ())))
    if len(owners) < 2:
        return owners
    while name not in sys.modules and "." in name:
        name = name.rpartition(".")[0]
    file = getattr(sys.modules.get(name), "__file__", None)
    return [o for o in owners if file is not None and os.path.realpath(file) in _files(o)]


@cache
def _files(distribution: str) -> frozenset[str]:
    listed = metadata.distribution(distribution).files or ()
    return frozenset(os.path.realpath(path.locate()) for path in listed if path.suffix == ".py")


def home_of(value: Any) -> Any:
    """The `__module__` of a value; any object may stand in a module, also one that raises."""
    try:
        return value.__module__
    except Exception:
        return None


def installed(name: str) -> str | None:
    """The version of a distribution that is installed; None if there is none."""
    try:
        return _version(name) or None  # a broken installation has no version
    except metadata.PackageNotFoundError:
        return None


@cache  # reading one takes as long as building a small policy; what is missing is asked for again
def _version(name: str) -> str:
    return metadata.version(name)


def normal(name: str) -> str:
    """A distribution's name as packaging compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()
