"""Import where each look at a file takes time, as on a network file system.

    python -m benchmarks.latency [--quick] [--json FILE]

strace holds each system call that names a file (open, stat, readlink, listing a folder), in fresh
processes, warm: plain import of `.pyc` files, and once more as the control; zipimport; and all of
codevault's way, `load_code` and the import of every module, its cache and state there too. Each
process tells the wall time of its own import; of the calls those of a process that imports nothing
of the tree are taken off. The delay stands for a server's answer: no network file system was at
hand.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import result
from benchmarks.import_peers import zipped
from benchmarks.import_snapshot import HERE
from benchmarks.import_tree import write_tree
from benchmarks.warm_load import missing

if TYPE_CHECKING:
    from argparse import Namespace

ARMS: Final = ("plain", "control", "zipimport", "codevault")
NOISE: Final = 0.15
_FILES: Final = "trace=%file,getdents64"
_START: Final = """
import logging, math, sys, time
sys.path[:0] = [{here!r}, {here!r} + "/importhook", {here!r} + "/cache"]
import codevault, codevault.load, codevault_cache.derived
top, small, head = sys.argv[1:]
codevault.load_code(small, None).import_module("small")
codevault.load_code(small, None).import_module("small")
start = time.perf_counter()
{arm}
print(time.perf_counter() - start)
"""
_ARMS: Final = {
    "nothing": "",
    "plain": "sys.path.insert(0, top + '/big/src'); import big.main",
    "zipimport": "sys.path.insert(0, top + '/big/big.zip'); import big.main",
    "codevault": "codevault.load_code(top + '/big', head).import_module('big.main')",
}


def compare(modules: int, delay_us: int, rounds: int) -> dict[str, Any]:
    """Median wall milliseconds of each arm, and its counted calls, without those of `nothing`.

    Args:
        modules: Of the tree.
        delay_us: How long each call is held, in microseconds.
        rounds: How often each arm runs.
    """
    with tempfile.TemporaryDirectory(prefix="latency-") as top:
        big, small = Path(top, "big"), Path(top, "small")
        write_tree(big, modules)
        small.mkdir()
        (small / "small.py").write_text("import logging, math\n")
        git = ["git", "-c", "user.name=A", "-c", "user.email=a@b", "-C", str(big)]
        for verb in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
            subprocess.run([*git, *verb], check=True)
        head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True)
        zipped(str(big))
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        places = ("CODEVAULT_CACHE", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
        env |= {name: str(Path(top, name)) for name in places}

        def one(arm: str, *, delayed: bool = True) -> tuple[float, int]:
            program = _START.format(here=str(HERE), arm=_ARMS[arm.replace("control", "plain")])
            command = [sys.executable, "-c", program, top, str(small)]
            command.append(head.stdout.decode().strip())
            trace = Path(top, "trace")
            hold = ["-e", f"inject=%file,getdents64:delay_exit={delay_us}"] if delayed else []
            traced = ["strace", "-f", "-qq", "-o", str(trace), "-e", _FILES, *hold, *command]
            done = subprocess.run(traced, env=env, check=True, capture_output=True)
            count = sum("resumed>" not in line for line in trace.read_text().splitlines())
            return float(done.stdout) * 1e3, count

        for arm in _ARMS:
            one(arm, delayed=False)  # writes `.pyc` files and the code pack
        walls: dict[str, list[float]] = {arm: [] for arm in ("nothing", *ARMS)}
        calls: dict[str, int] = {}
        for _ in range(rounds):
            for arm in random.sample(list(walls), len(walls)):
                wall, calls[arm] = one(arm)
                walls[arm].append(wall)
        subprocess.run(["chmod", "-R", "u+w", top], check=True)
    report: dict[str, Any] = {"modules": modules, "delay_us": delay_us, "rounds": rounds}
    report["ms"] = {arm: round(statistics.median(walls[arm]), 1) for arm in ARMS}
    report["calls"] = {arm: calls[arm] - calls["nothing"] for arm in ARMS}
    return {**report, **judge(report["ms"])}


def judge(ms: dict[str, float]) -> dict[str, Any]:
    ratios = {arm: round(value / ms["plain"], 3) for arm, value in ms.items()}
    if abs(ratios["control"] - 1) > NOISE:
        return {"no_verdict": f"the control is off: {ratios['control']}"}
    return {"ratios": ratios}


def measure(options: Namespace) -> dict[str, Any]:
    if missing():
        return {"no_verdict": missing(), "rows": []}
    modules, rounds = (12, 1) if options.quick else (200, 5)
    return {"rows": [compare(modules, delay, rounds) for delay in (200, 1000)]}


def main() -> None:
    result.command(result.parser("latency"), measure)


if __name__ == "__main__":
    main()
