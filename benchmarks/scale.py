"""Many versions of one policy's code in one process: time, memory, garbage collection, and growth.

    python -m benchmarks.scale [--quick] [--json FILE]

A package of 60 modules (240 classes) of which each commit changes three; all commits are in the
cache. Fresh processes in random order load 1, 10, 100 or 300 of them and import every module. Each
count runs three times a round: the second is the control, and the third calls `gc.freeze()` after
each load, as an application may. Growth is linear if a version costs, from the second largest count
to the largest, at most a quarter more than between the two counts before.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import result
from benchmarks.import_snapshot import HERE

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

COUNTS: Final = (1, 10, 100, 300)
QUICK: Final = (1, 4, 8)
MODULES: Final = 60
BUDGET_MB: Final = 2.5
ARMS: Final = ("versions", "control", "frozen")
LINEAR: Final = 1.25
NOISE: Final = 0.10
OFF: Final = "unresolved: the control is off by more than 10%"


# -- the repository -------------------------------------------------------------------------------


def module(number: int, version: int) -> str:
    """A module of 4 classes with 5 methods each and 6 functions, that imports an earlier one."""
    lines = [f'"""Module {number}."""', "import math", f"VERSION = {version}"]
    if number:
        lines.append(f"from many import m{random.Random(number).randrange(number)} as earlier")
    for c in range(4):
        lines += [f"class C{c}:", f"    '''Class {c} of module {number}.'''", f"    k: int = {c}"]
        lines += ["    def __init__(self, a, b=2, *, c=3):", "        self.a, self.b = a, b"]
        for m in range(5):
            lines += [
                f"    def m{m}(self, x, y=None):",
                f"        '''Method {m} of class {c} of module {number}.'''",
                f"        z = x * {m + 1} + self.a",
                "        if y is not None:",
                "            z = math.sqrt(abs(z)) + y",
                f"        for q in range({m + 2}):",
                f"            z += q * self.b - {number}",
                f"        return [z, {{'k{m}': z, 'name': 'm{m}_{number}'}}]",
            ]
    for f in range(6):
        lines += [
            f"def f{f}(a, b, c={f}):",
            "    out = []",
            "    for i in range(a):",
            f"        out.append((i, b, c, 'tag{f}_{number}') if i % 2 else None)",
            "    return out",
        ]
    return "\n".join(lines) + "\n"


def write_repository(path: Path, commits: int) -> list[str]:
    """A repository of so many commits, each with three modules of its own; oldest first."""
    init = "".join(f"from many import m{i}\n" for i in range(MODULES)).encode()
    stream: list[bytes] = []
    for version in range(commits):
        head = f"commit refs/heads/main\ncommitter A <a@b> {1_700_000_000 + version} +0000\n"
        stream.append(head.encode() + b"data 1\nx\n")
        changed = range(version * 3, version * 3 + 3) if version else range(MODULES)
        files = {f"m{i % MODULES}": module(i % MODULES, version).encode() for i in changed}
        for name, text in {**files, "__init__": init}.items():
            stream.append(f"M 100644 inline many/{name}.py\ndata {len(text)}\n".encode() + text)
    subprocess.run(["git", "init", "-q", "-b", "main", str(path)], check=True)
    git = ["git", "-C", str(path)]
    subprocess.run([*git, "fast-import", "--quiet"], input=b"".join(stream), check=True)
    listed = subprocess.run(
        [*git, "rev-list", "--reverse", "main"], check=True, capture_output=True
    )
    return listed.stdout.decode().split()


# -- one process ----------------------------------------------------------------------------------


def child(arm: str, repo: str, small: str, commits: Sequence[str]) -> dict[str, float]:
    """Loads the commits, with every module; what that took.

    Returns:
        CPU milliseconds, megabytes (of anonymous memory), milliseconds of a full collection, and of
        one after `gc.freeze()`.
    """
    import codevault

    # What Python and libraries need once in a process is not the versions'.
    codevault.load_code(small, None).import_module("small")
    codevault.load_code(small, None).import_module("small")
    gc.collect()
    before, start = _anonymous(), time.process_time()
    splints = []
    for commit in commits:
        splint = codevault.load_code(repo, commit)
        splint.import_module("many")
        splints.append(splint)
        if arm == "frozen":
            gc.freeze()
    cpu = (time.process_time() - start) * 1e3
    grown = _anonymous() - before
    for splint in splints:
        if len(splint.modules) != MODULES + 1:
            raise AssertionError(f"{len(splint.modules)} modules were loaded")
    full = statistics.median(_collection() for _ in range(5))
    gc.freeze()
    frozen = statistics.median(_collection() for _ in range(5))
    return {"cpu_ms": cpu, "mb": grown, "gc_ms": full, "frozen_gc_ms": frozen}


def _collection() -> float:
    start = time.process_time()
    gc.collect()
    return (time.process_time() - start) * 1e3


def _anonymous() -> float:
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("RssAnon:")
    )
    return int(line.split()[1]) / 1000


_CHILD: Final = """
import json, sys
sys.path[:0] = [{here!r}, {here!r} + "/importhook", {here!r} + "/cache"]
from benchmarks.scale import child
print(json.dumps(child(*sys.argv[1:4], sys.argv[4:])))
"""


# -- the comparison -------------------------------------------------------------------------------


def compare(counts: Sequence[int], rounds: int) -> dict[str, Any]:
    """The medians for each count of versions, what each further version costs, and the verdicts."""
    with tempfile.TemporaryDirectory(prefix="scale-") as top:
        commits = write_repository(Path(top, "repo"), max(counts))
        small = Path(top, "small")
        small.mkdir()
        (small / "small.py").write_text("import logging, math\n")
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        places = ("CODEVAULT_CACHE", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
        env |= {name: str(Path(top, name)) for name in places}

        def one(count: int, arm: str) -> dict[str, float]:
            program = [sys.executable, "-c", _CHILD.format(here=str(HERE)), arm]
            chosen = commits[:: max(1, len(commits) // count)][:count]
            command = [*program, str(Path(top, "repo")), str(small), *chosen]
            done = subprocess.run(command, env=env, check=True, capture_output=True, cwd=top)
            found: dict[str, float] = json.loads(done.stdout)
            return found

        one(max(counts), "versions")  # brings all commits and their code into the cache
        runs: dict[tuple[int, str], list[dict[str, float]]] = {
            (count, arm): [] for count in counts for arm in ARMS
        }
        for _ in range(rounds):
            for key in random.sample(sorted(runs), len(runs)):
                runs[key].append(one(*key))
        subprocess.run(["chmod", "-R", "u+w", top], check=True)
    rows = []
    for count in counts:
        found = {
            key: round(statistics.median(run[key] for run in runs[count, "versions"]), 2)
            for key in ("cpu_ms", "mb", "gc_ms", "frozen_gc_ms")
        }
        for arm in ARMS[1:]:
            cpu = statistics.median(run["cpu_ms"] for run in runs[count, arm])
            found[f"{arm}_cpu_ms"] = round(cpu, 2)
        rows.append({"versions": count, **found})
    return {"modules": MODULES, "rounds": rounds, "rows": rows, **judge(rows)}


def judge(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    """What a further version costs between counts, and whether that stays the same."""

    def each(key: str) -> list[float]:
        return [
            (b[key] - a[key]) / (b["versions"] - a["versions"]) for a, b in itertools.pairwise(rows)
        ]

    controls = [row["control_cpu_ms"] / row["cpu_ms"] for row in rows[-3:]]
    worst = max(controls, key=lambda ratio: abs(ratio - 1))
    off = abs(worst - 1) > NOISE
    return {
        "ms_each": [round(value, 2) for value in each("cpu_ms")],
        "mb_each": [round(value, 3) for value in each("mb")],
        "frozen_ms_each": [round(value, 2) for value in each("frozen_cpu_ms")],
        "gc_ms_each": [round(value, 3) for value in each("gc_ms")],
        "control_ratio": round(worst, 3),
        "time": OFF if off else _growth(each("cpu_ms")),
        "frozen_time": OFF if off else _growth(each("frozen_cpu_ms")),
        "memory": _growth(each("mb")),
        "within_budget": each("mb")[-1] <= BUDGET_MB,
    }


def _growth(each: Sequence[float]) -> str:
    return "linear" if each[-1] <= LINEAR * each[-2] else "faster than linear"


def measure(options: Namespace) -> dict[str, Any]:
    return compare(QUICK, 1) if options.quick else compare(COUNTS, 5)


def main(arguments: Sequence[str] | None = None) -> int:
    figures = result.command(result.parser("scale"), measure, arguments)
    growth = figures["frozen_time"] + figures["memory"]  # without the collector's part in it
    return int("faster" in growth or not figures["within_budget"])


if __name__ == "__main__":
    sys.exit(main())
