"""The table of known breaks: its logic, and each line against the release that is installed."""

from __future__ import annotations

import importlib
import platform
import re
import warnings
from importlib import metadata
from typing import Any

import pydantic.errors
import pytest

from codevault.breaks import Break, crossed, older
from codevault.knownbreaks import BREAKS

IDS = [f"{line.package}-{line.since}-{place}" for place, line in enumerate(BREAKS)]
NAMED_IDS = [name for name, line in zip(IDS, BREAKS, strict=True) if line.names]
ANY = Break("p", "2.0", "s", "https://s")
NAMED = Break("p", "2.0", "s", "https://s", removed=("p.r",), added=("p.a",), changed=("p.c",))
FOR_A_WHILE = Break("p", "1.24", "s", "https://s", removed=("p.bool",), until="2.0")


@pytest.mark.parametrize(
    ("line", "recorded", "here", "names"),
    [
        (ANY, "1.9", "2.0", ()),
        (ANY, "2.1", "1.9.9", ()),
        (ANY, "2.0", "3.0", None),
        (ANY, "1.0", "1.9.9", None),
        (ANY, "1.26.4", "2", ()),
        (ANY, "1.26", "2.0.0rc1", ()),
        (ANY, "1.26", "2.0.0+cpu", ()),
        (ANY, "banana", "2.0", ()),
        (NAMED, "1.9", "2.0", ("p.c", "p.r")),
        (NAMED, "2.0", "1.9", ("p.c", "p.a")),
        (NAMED, "2.0", "2.1", None),
        (FOR_A_WHILE, "1.23.5", "1.26.4", ("p.bool",)),
        (FOR_A_WHILE, "1.23.5", "2.0", None),
        (FOR_A_WHILE, "1.24", "2.0", None),
    ],
    ids=range(14),
)
def test_what_lies_between_two_versions(
    line: Break, recorded: str, here: str, names: tuple[str, ...] | None
) -> None:
    assert crossed(line, recorded, here) == names


@pytest.mark.parametrize(
    ("a", "b", "is_older"),
    [
        ("1.9", "1.10", True),
        ("1.10", "1.9", False),
        ("2", "2.0.0", False),
        ("2.0", "2", False),
        ("1!1.0", "1.1", True),
        ("v1.0", "1.0.1", True),
        ("2.0.0rc1", "2.0.0", False),
    ],
    ids=range(7),
)
def test_versions_are_compared_by_number(a: str, b: str, is_older: bool) -> None:
    assert older(a, b) is is_older


@pytest.mark.parametrize("line", BREAKS, ids=IDS)
def test_a_line_of_the_table_is_complete(line: Break) -> None:
    major = line.since.partition(".")[0]
    before = f"{int(major) - 1}.999" if line.since.endswith(".0") else _before(line.since)
    assert crossed(line, before, line.since) is not None or not (line.removed or line.changed)
    assert crossed(line, line.since, before) is not None or not (line.added or line.changed)
    assert crossed(line, line.since, line.until or "999") is None or line.until
    assert crossed(line, before, before) is None
    assert line.source.startswith("https://")
    assert re.match(r"\w+(Error|s?): |other \w+: ", line.symptom) or "Error" in line.symptom
    tops = {name.partition(".")[0] for name in line.names}
    assert tops <= {line.package} or line.package == "python"
    assert len(set(line.names)) == len(line.names)


def _before(version: str) -> str:
    major, minor = version.split(".")
    return f"{major}.{int(minor) - 1}.999"


@pytest.mark.parametrize("line", [line for line in BREAKS if line.names], ids=NAMED_IDS)
def test_a_line_of_the_table_is_true_of_the_installed_release(line: Break) -> None:
    if line.package == "python":
        here = platform.python_version()
    else:
        pytest.importorskip(line.package, exc_type=ImportError)
        here = metadata.version(line.package)
    since = not older(here, line.since) and (not line.until or older(here, line.until))
    found = {name: _exists(name) for name in line.names}
    assert not [n for n in line.removed if found[n] is since and not _windows(n)]
    assert not [n for n in line.added if found[n] is not since]
    assert not [n for n in line.changed if not found[n]]


def _windows(name: str) -> bool:
    return name == "msilib"


def _exists(name: str) -> bool:
    parts = name.split(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found: Any = importlib.import_module(parts[0])
        except ImportError:
            return False
        for end, part in enumerate(parts[1:], 2):
            try:
                found = getattr(found, part)
            except (AttributeError, ImportError):
                try:
                    found = importlib.import_module(".".join(parts[:end]))
                except ImportError:
                    return False
            except pydantic.errors.PydanticImportError:
                return False
    return True
