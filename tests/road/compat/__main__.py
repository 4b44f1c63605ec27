"""Runs packages and writes docs/compatibility.md: `python -m tests.road.compat [PACKAGE...]`.

Without names: all. A package with a problem keeps what an earlier run found, and the status is 1.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from pathlib import Path

from tests.road.compat.case import CASES
from tests.road.compat.check import check
from tests.road.compat.page import PAGE, keep, page, read


def main() -> int:
    """Runs what the command line names."""
    names = sys.argv[1:]
    if unknown := set(names) - {case.name for case in CASES}:
        print(f"no such package: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    cases = [case for case in CASES if not names or case.name in names]
    wanted = sorted({module for case in cases for module in case.host})
    if missing := [module for module in wanted if importlib.util.find_spec(module) is None]:
        print(f"this Python has no {', '.join(missing)}", file=sys.stderr)
        return 2
    problems = 0
    for case in cases:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"compat-{case.name}-") as scratch:
            result = check(case, Path(scratch))
        if not result.problems:
            keep(case, result)
        problems += len(result.problems)
        said = "differs" if result.problems else "equal"
        print(
            f"{case.name}: {said}; {result.values} values, {result.modules} modules; plain "
            f"{result.plain}, isolated {result.isolated}, accounted for {len(result.differ)}; "
            f"{time.monotonic() - started:.0f} s",
            *result.problems,
            sep="\n    ",
            flush=True,
        )
    PAGE.write_text(page(read()))
    print(f"{len(cases)} packages, {problems} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
