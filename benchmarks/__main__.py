"""Runs the benchmarks, one process each, and writes the page from what they measured.

    python -m benchmarks [NAME ...] [--quick]

A run replaces the file of that benchmark in `benchmarks/results`; the page and its plots are made
of all files there. `--quick` measures little, in a folder of its own, and publishes nothing. Exit
code 1: a benchmark failed or found a difference, or one that counts missed its budget.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import counts, page, plots, result

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = HERE / "benchmarks" / "results"
DOCS: Final = HERE / "docs"


def run(name: str, file: Path, options: Sequence[str]) -> int:
    """Runs one benchmark in a process without `PYTHON*`; its exit code."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(file), *options]
    return subprocess.run(command, env=env, cwd=HERE, check=False).returncode


def publish(results: Path, docs: Path) -> None:
    """Writes the page and its plots from the runs in a folder."""
    runs = result.read(results)
    plots.draw(runs, docs / "benchmarks")
    (docs / "benchmarks.md").write_text(page.render(runs))


def failures(names: Sequence[str], results: Path, options: Sequence[str]) -> list[str]:
    """Runs benchmarks; those that broke, and what must not be."""
    found = []
    for name in names:
        print(f"== {name}", flush=True)
        file = results / f"{name}.json"
        file.unlink(missing_ok=True)
        code = run(name, file, options)
        if code not in (0, 1) or not file.exists():
            found.append(f"{name} failed with exit code {code}")
        else:
            found += counts.missed(name, json.loads(file.read_text())["figures"])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks; all by default")
    parser.add_argument("--quick", action="store_true", help="measure little, publish nothing")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in page.SECTIONS:
            parser.error(f"no benchmark {name!r}; there are {', '.join(page.SECTIONS)}")
    names = options.names or list(page.SECTIONS)
    if options.quick:
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
            wrong = failures(names, Path(folder), ["--quick"])
    else:
        RESULTS.mkdir(exist_ok=True)
        wrong = failures(names, RESULTS, [])
        publish(RESULTS, DOCS)
    print("\n".join(wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
