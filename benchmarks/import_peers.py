"""Import by codevault, torch.package and transformers' dynamic modules: the same files, one run.

Two trees: a package whose modules import each other in every form, and a flat folder with relative
imports only, which is all that transformers serves. Each arm's import is timed in fresh child
processes in random order, with torch loaded before, everything warm; a peer that cannot import a
tree is reported with what it says. Peers that are not installed are left out.

Run from the repository's root:

    python -m benchmarks.import_peers [--modules 200] [--rounds 11]
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import importlib
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.import_snapshot import HERE, NAME, NOISE, prepare
from benchmarks.import_tree import Folder, write_flat_tree, write_tree

ARMS: Final = ("plain", "control", "codevault", "torch.package", "transformers")
TREES: Final = {"package": write_tree, "flat": write_flat_tree}


# -- one child process ----------------------------------------------------------------------------


def child(top: str, arm: str) -> dict[str, Any]:
    """Imports all modules once; the libraries that do it are loaded before the clock starts."""
    import torch  # noqa: F401 - every process that loads a policy has it

    begin = {"transformers": _transformers, "torch.package": _package, "codevault": _codevault}
    run = begin.get(arm, _plain)(top)
    gc.collect()
    gc.freeze()  # else the time of a collection of torch's objects falls into one arm or another
    start = time.process_time()
    try:
        run()
    except Exception as error:  # what a peer says is the result
        return {"refused": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
    return {"cpu_ms": (time.process_time() - start) * 1e3}


def _plain(top: str) -> Any:
    sys.path.insert(0, f"{top}/src")
    return lambda: importlib.import_module("big.main")


def _codevault(top: str) -> Any:
    import codevault_importhook as hook

    if not os.path.exists(f"{top}/pack"):
        prepare(top)

    def run() -> None:
        pack = Path(top, "pack").read_bytes()
        if hashlib.sha256(pack).hexdigest() != Path(top, "pack.sha256").read_text():
            raise ValueError("the code pack is damaged")
        mount = hook.mount(NAME, Folder(top), roots=["src"])
        mount.use(pack)
        importlib.import_module(f"{NAME}.big.main")

    return run


def _package(top: str) -> Any:
    from torch.package.package_exporter import PackageExporter
    from torch.package.package_importer import PackageImporter

    archive = f"{top}/big.pt"
    if not os.path.exists(archive):
        sys.path.insert(0, f"{top}/src")
        with PackageExporter(archive) as exporter:
            exporter.intern("big.**")
            exporter.extern("**")
            exporter.save_source_string("entry", "import big.main\n")
    return lambda: PackageImporter(archive).import_module("big.main")


def _transformers(top: str) -> Any:
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    return lambda: get_class_from_dynamic_module("main.Main", f"{top}/src/big")


# -- the comparison -------------------------------------------------------------------------------


def compare(tree: str, modules: int, rounds: int) -> dict[str, Any]:
    """Median CPU times of all arms for one kind of tree, and their ratios to plain."""
    needed = {"torch.package": "torch", "transformers": "transformers"}
    arms = [a for a in ARMS if importlib.util.find_spec(needed.get(a, "sys")) is not None]
    with tempfile.TemporaryDirectory() as top:
        TREES[tree](Path(top), modules)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        environment |= {"HF_MODULES_CACHE": f"{top}/hf", "HF_HUB_OFFLINE": "1"}

        def one(arm: str) -> dict[str, Any]:
            command = [sys.executable, "-c", _CHILD.format(here=str(HERE)), top, arm]
            done = subprocess.run(
                command, env=environment, check=True, capture_output=True, cwd=HERE
            )
            result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            return result

        first = {arm: one(arm) for arm in arms}  # writes packs, caches and `.pyc` files
        refused = {arm: run["refused"] for arm, run in first.items() if "refused" in run}
        able = [arm for arm in arms if arm not in refused]
        times: dict[str, list[float]] = {arm: [] for arm in able}
        for _ in range(rounds):
            for arm in random.sample(able, len(able)):
                times[arm].append(one(arm)["cpu_ms"])
    medians = {arm: statistics.median(values) for arm, values in times.items()}
    ratios = {arm: round(value / medians["plain"], 3) for arm, value in medians.items()}
    report: dict[str, Any] = {"tree": tree, "modules": modules, "rounds": rounds}
    report |= {"cpu_ms": {arm: round(value, 1) for arm, value in medians.items()}}
    report |= {"refused": refused, "not_installed": sorted(set(ARMS) - set(arms))}
    if abs(ratios["control"] - 1) > NOISE:
        return {**report, "no_verdict": f"the control is off: {ratios['control']}"}
    return {**report, "ratios": ratios}


_CHILD = """
import json, sys
sys.path[:0] = [{here!r}, {here!r} + "/importhook"]
from benchmarks.import_peers import child
print(json.dumps(child(*sys.argv[1:])))
"""


def main() -> None:
    """Prints one JSON object per kind of tree."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--modules", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    for tree in TREES:
        print(json.dumps(compare(tree, options.modules, options.rounds), indent=2))


if __name__ == "__main__":
    main()
