"""One run of a benchmark as a JSON file: what was run, when, on what machine, and its figures."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def conditions() -> dict[str, str]:
    """The date and the machine, as far as they move figures."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {_processor()}",
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": platform.python_version(),
        "torch": _torch(),
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def _torch() -> str:
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:  # other interpreters time imports only
        return "absent"


def parser(name: str) -> argparse.ArgumentParser:
    """The command line that all benchmarks have."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    made.add_argument("--quick", action="store_true", help="a small run, not worth publishing")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    return made


def command(
    line: argparse.ArgumentParser,
    measure: Callable[[argparse.Namespace], dict[str, Any]],
    arguments: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Measures, and prints the run or writes it to a file.

    Args:
        line: What `parser` gave, with the benchmark's own options.
        measure: Gives the figures; told what was asked for.
        arguments: Of the command line.

    Returns:
        The figures.
    """
    options = line.parse_args(arguments)
    before = conditions()  # the load that was there, not the benchmark's own
    figures = measure(options)
    name = line.prog.rpartition(".")[2]
    run = {"benchmark": name, "quick": options.quick, "conditions": before, "figures": figures}
    text = json.dumps(run, indent=1) + "\n"
    if options.json is None:
        print(text, end="")
    else:
        options.json.write_text(text)
    return figures


def read(folder: Path) -> list[dict[str, Any]]:
    """The runs of a folder, in the order of their files' names."""
    return [
        json.loads(file.read_text())
        for file in sorted(folder.glob("*.json"), key=lambda file: file.stem)
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
