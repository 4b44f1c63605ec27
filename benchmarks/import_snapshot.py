"""Import of a snapshot with a warm code pack, against plain import of the same files with `.pyc`.

Fresh child processes, in random order, alternate between the arms; each reports the CPU time of its
imports. A ratio is the median of those to the plain child of the same round, so that a machine that
is slower for a while moves it little. A second plain arm is the control: if it differs from the
first by more than 5 %, the machine is too noisy and no verdict is given.

Run from the repository's root:

    python -m benchmarks.import_snapshot [--quick] [--json FILE]
"""

from __future__ import annotations

import hashlib
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

from benchmarks import paired, result
from benchmarks.import_tree import Folder, write_tree

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

HERE: Final = Path(__file__).resolve().parent.parent
BUDGET: Final = 0.85
NOISE: Final = 0.05
NAME: Final = "_splint_0123456789ab_cdef01234567"
"""Under which the tree is mounted."""
ARMS: Final = ("plain", "control", "mounted")


# -- one child process ----------------------------------------------------------------------------


def child(top: str, arm: str) -> dict[str, float]:
    """Imports all modules once, timed; the hook itself is loaded before, as torch would be."""
    import importlib
    import logging  # noqa: F401 - what the tree imports, and what both arms would load
    import math  # noqa: F401

    import codevault_importhook as hook

    if arm == "prepare":  # here, because the rules of a process enter the code pack
        prepare(top)
        return {}
    wall, cpu = time.perf_counter(), time.process_time()
    if arm == "mounted":
        with open(f"{top}/pack", "rb") as file:
            pack = file.read()
        with open(f"{top}/pack.sha256") as digest:
            if hashlib.sha256(pack).hexdigest() != digest.read():
                raise ValueError("the code pack is damaged")
        mount = hook.mount(NAME, Folder(top), roots=["src"])
        mount.use(hook.CodePack(pack, mount.tag))
        main = importlib.import_module(f"{NAME}.big.main")
    else:
        sys.path.insert(0, f"{top}/src")
        main = importlib.import_module("big.main")
    took = {
        "cpu_ms": (time.process_time() - cpu) * 1e3,
        "wall_ms": (time.perf_counter() - wall) * 1e3,
    }
    if arm == "control":
        # "installed" stands for the host's own imports once the hook is in place.
        took["host_import_ns"] = _each(main.host_import)
        hook.mount(NAME, Folder(top), roots=["src"])
        took["host_import_installed_ns"] = _each(main.host_import)
    took["from_import_ns"] = _each(main.from_import)
    return took


def _each(function: Callable[[], object], calls: int = 20_000) -> float:
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter_ns()
        for _ in range(calls):
            function()
        best = min(best, (time.perf_counter_ns() - start) / calls)
    return best


# -- the comparison -------------------------------------------------------------------------------


def compare(modules: int, rounds: int) -> dict[str, Any]:
    """Medians of all arms for a tree of `modules` modules, and their ratios to plain."""
    # PYTHONDONTWRITEBYTECODE=1 alone would make the plain arm compile each time.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    with tempfile.TemporaryDirectory() as top:
        write_tree(Path(top), modules)

        def one(arm: str) -> dict[str, float]:
            command = [sys.executable, "-c", _CHILD.format(here=str(HERE)), top, arm]
            run = subprocess.run(
                command, env=environment, check=True, capture_output=True, cwd=HERE
            )
            result: dict[str, float] = json.loads(run.stdout)
            return result

        for arm in ("prepare", *ARMS):
            one(arm)  # writes the code pack and `.pyc` files and fills the page cache
        results: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
        for _ in range(rounds):
            for arm in random.sample(ARMS, len(ARMS)):
                results[arm].append(one(arm))
    medians = {
        arm: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for arm, runs in results.items()
    }
    return {"modules": modules, "rounds": rounds, "medians": medians, **_verdict(results)}


def _verdict(results: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    def ratio(arm: str, key: str) -> float:
        times, plain = ([run[key] for run in results[one]] for one in (arm, "plain"))
        return round(paired.ratio(times, plain, random.Random(1)).median, 3)

    control = ratio("control", "cpu_ms")
    if abs(control - 1) > NOISE:
        return {"control_ratio": control, "no_verdict": f"the control is off: {control}"}
    report: dict[str, Any] = {
        "ratio": ratio("mounted", "cpu_ms"),
        "control_ratio": control,
        "from_import_control_ratio": ratio("control", "from_import_ns"),
        "within_budget": ratio("mounted", "cpu_ms") <= BUDGET,
    }
    if abs(report["from_import_control_ratio"] - 1) <= NOISE:  # the control of single imports
        report["from_import_ratio"] = ratio("mounted", "from_import_ns")
        hosts = [r["host_import_installed_ns"] / r["host_import_ns"] for r in results["control"]]
        report["host_import_ratio"] = round(statistics.median(hosts), 3)
    return report


def prepare(top: str) -> None:
    """Writes the listing and the code pack of a tree."""
    import codevault_importhook as hook

    paths = [str(p.relative_to(top)) for p in Path(top).rglob("*.py")]
    listing = hashlib.sha256("\n".join(sorted(paths)).encode()).hexdigest()
    Path(top, "listing.json").write_text(json.dumps({"digest": listing, "paths": sorted(paths)}))
    mount = hook.mount(NAME, Folder(top), roots=["src"])
    try:
        pack = mount.compile()
    finally:
        hook.unload(mount)
    Path(top, "pack").write_bytes(pack)
    Path(top, "pack.sha256").write_text(hashlib.sha256(pack).hexdigest())


_CHILD = """
import json, sys
sys.path[:0] = [{here!r}, {here!r} + "/importhook"]
from benchmarks.import_snapshot import child
print(json.dumps(child(*sys.argv[1:])))
"""


def measure(options: Namespace) -> dict[str, Any]:
    sizes, rounds = ((12, 30), 3) if options.quick else ((50, 200, 500), 31)
    return {"rounds": rounds, "rows": [compare(modules, rounds) for modules in sizes]}


def main() -> None:
    result.command(result.parser("import_snapshot"), measure)


if __name__ == "__main__":
    main()
