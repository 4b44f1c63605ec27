"""What was found out, as `results.json` keeps it, and docs/compatibility.md, made of it."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.road.compat.case import CASES

if TYPE_CHECKING:
    from tests.road.compat.case import Case
    from tests.road.compat.check import Result

PAGE: Final = Path(__file__).parents[3] / "docs" / "compatibility.md"
_RESULTS: Final = Path(__file__).parent / "results.json"

REASONS: Final = {
    "name": "asserts on the text of `__module__`, `__name__` or a message with them; these carry "
    "the splint's name",
    "written": "imports by its name a module that was written to a temporary folder: code outside "
    "the tree is the host's",
    "sys.path": "puts a folder of the tree on `sys.path` and imports from it: that is refused, and "
    "the message has what helps",
    "builtins": "wants a dictionary as `__builtins__` among the globals of a module; it is the "
    "module, by which imports of C code are noticed",
}
"""Why a test of a package may end otherwise in old code than in a plain run."""

_HEAD: Final = """\
# Compatibility

Published packages as the old code of a repository: `python -m tests.road.compat` runs all of this
and makes this page; with names of packages it runs only these, and keeps the other
rows. Run on {pythons}.

Each package was chosen for what goes wrong when code does not stand under its own name. Two
releases of it are two commits of a git repository. Both are mounted in one process, in whose
host nothing of it was imported; and in one whose host has imported the newer release before. In
each, real calls ([tests/road/compat/packages](../tests/road/compat/packages)) must give, value by
value, what they give after a plain import in a fresh process; no module may appear under the
package's own name, and the host's own copy must stay as it was and go on giving the same values.
Two versions that are refused in one process, as the last section says, are mounted each alone.

Then the newer release's own tests, as its sdist or wheel ships them, run twice under the same
pytest: plainly, and with tests and `conftest.py` as old code too. Every test that ends otherwise
isolated is accounted for; results with any other difference are not written.

| package | versions | why it is hard | equal values | own modules | own tests | otherwise |
|---|---|---|---|---|---|---|
"""

_MIDDLE: Final = """

*Equal values* and *own modules* are the newer release's. *Own tests*: how many of those that pass
plainly pass isolated. *Otherwise*: how many tests end otherwise in the two runs, and why; their
names are in [results.json](../tests/road/compat/results.json). That names carry the prefix is by
design; see [limits](limits.md#different-from-a-plain-run-by-design).

| | reason | tests |
|---|---|---|
"""

_TAIL: Final = """

Tests that fail in both runs (they want an installed distribution, another pytest, or a network)
count in neither number.

## What these packages do that old code cannot do

"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is kept of a result without problems.

    Attributes:
        digest: Of the case that gave it.
        python: The version that ran it, and the system.
        values: As in `Result`.
        modules: As in `Result`.
        plain: As in `Result`.
        isolated: As in `Result`.
        differ: As in `Result`.
    """

    digest: str
    python: str
    values: int
    modules: int
    plain: dict[str, int]
    isolated: dict[str, int]
    differ: dict[str, tuple[str, str, str]]


def read() -> dict[str, Finding]:
    """What is kept, by the package's name."""
    kept: dict[str, Any] = json.loads(_RESULTS.read_text()) if _RESULTS.exists() else {}
    return {name: Finding(**fields) for name, fields in kept.items()}


def keep(case: Case, result: Result) -> None:
    """Replaces what is kept about a package."""
    kept = json.loads(_RESULTS.read_text()) if _RESULTS.exists() else {}
    kept[case.name] = {
        "digest": case.digest,
        "python": f"{platform.python_version()} ({platform.system()})",
        "values": result.values,
        "modules": result.modules,
        "plain": result.plain,
        "isolated": result.isolated,
        "differ": result.differ,
    }
    known = {name: kept[name] for name in (case.name for case in CASES) if name in kept}
    _RESULTS.write_text(json.dumps(known, indent=1) + "\n")


def page(findings: dict[str, Finding]) -> str:
    """The whole page."""
    found = [(case, findings[case.name]) for case in CASES if case.name in findings]
    pythons = ", ".join(sorted({f"Python {finding.python}" for _, finding in found}))
    counted = [why for _, finding in found for _, _, why in finding.differ.values()]
    reasons = [f"| {m} | {why} | {counted.count(m)} |" for m, why in REASONS.items()]
    gaps = [f"- **{case.name}**: {gap}." for case, _ in found for gap in case.gaps]
    rows = [_row(case, finding) for case, finding in found]
    parts = [_HEAD.format(pythons=pythons), rows, _MIDDLE, reasons, _TAIL, gaps, "\n"]
    return "".join(part if isinstance(part, str) else "\n".join(part) for part in parts)


def _row(case: Case, finding: Finding) -> str:
    passed = case.no_suite
    if case.suite is not None:
        plain = finding.plain["passed"]
        lost = [one for one, _, _ in finding.differ.values()].count("passed")
        passed = f"{plain - lost} of {plain}"
    whys = [why for _, _, why in finding.differ.values()]
    cells = [
        case.name,
        " and ".join(case.versions),
        case.nasty,
        str(finding.values),
        str(finding.modules),
        passed,
        ", ".join(f"{whys.count(why)} {why}" for why in REASONS if why in whys),
    ]
    return f"| {' | '.join(cells)} |"
