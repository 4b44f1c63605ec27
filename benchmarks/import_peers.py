"""Import by codevault, zipimport, torch.package and transformers' dynamic modules, in one run.

Two trees: a package whose modules import each other in every form, and a flat folder with relative
imports only, which is all that transformers serves. Each arm's import is timed in fresh child
processes in random order, with torch loaded before, everything warm; a peer that cannot import a
tree is reported with what it says. Peers that are not installed are left out.

Run from the repository's root:

    python -m benchmarks.import_peers [--quick] [--json FILE]
"""

from __future__ import annotations

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
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import paired, result
from benchmarks.import_snapshot import HERE, NAME, NOISE, prepare
from benchmarks.import_tree import Folder, write_flat_tree, write_tree

if TYPE_CHECKING:
    from argparse import Namespace

ARMS: Final = ("plain", "control", "codevault", "zipimport", "torch.package", "transformers")
TREES: Final = {"package": write_tree, "flat": write_flat_tree}


# -- one child process ----------------------------------------------------------------------------


def child(top: str, arm: str) -> dict[str, Any]:
    """Imports all modules once; the libraries that do it are loaded before the clock starts."""
    import torch  # noqa: F401 - every process that loads a policy has it

    begin = {
        "codevault": _codevault,
        "zipimport": _zip,
        "torch.package": _package,
        "transformers": _transformers,
    }
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
        mount.use(hook.CodePack(pack, mount.tag))
        importlib.import_module(f"{NAME}.big.main")

    return run


def _zip(top: str) -> Any:
    sys.path.insert(0, zipped(top))
    return lambda: importlib.import_module("big.main")


def zipped(top: str) -> str:
    """The tree's modules, compiled and uncompressed, in an archive; its path."""
    archive = f"{top}/big.zip"
    if not os.path.exists(archive):
        with zipfile.PyZipFile(archive, "w") as written:
            written.writepy(f"{top}/src/big")
    return archive


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
    """Median CPU times of all arms for one kind of tree, and paired ratios to plain."""
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
    ratios = {
        arm: round(paired.ratio(values, times["plain"], random.Random(1)).median, 3)
        for arm, values in times.items()
    }
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


def measure(options: Namespace) -> dict[str, Any]:
    modules, rounds = (20, 1) if options.quick else (200, 11)
    return {"rows": [compare(tree, modules, rounds) for tree in TREES]}


def main() -> None:
    result.command(result.parser("import_peers"), measure)


if __name__ == "__main__":
    main()
