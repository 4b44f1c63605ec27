"""Does isolation cost time in a forward pass? On a GPU where there is one, and on the CPU without.

    python -m benchmarks.gpu_forward [--quick] [--json FILE]

Four arms on the same parameter storages: native, native again, isolated, and native with a planted
slowdown of 2%, which the method must find. What each pass does is proved equal before it is timed
(`benchmarks.proof`). Processes of their own time it, one after another, and the figures are pooled
over them: `PROCESSES`, or at least `LEAST` when `LIMIT_S` is up; what they found has no part in it,
and none is left out. On CUDA three clocks: events on the device, the host's time to launch, and the
replay of a CUDA graph; on the CPU one, the thread's CPU time, with the wall clock read beside it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from benchmarks import blocks, clocks, forward_process, policies, pooled, result
from benchmarks.forward_process import Effort
from benchmarks.proof import prove

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

HERE: Final = Path(__file__).resolve().parent.parent
BATCHES: Final = {"cpu": (1, 64, 512), "cuda": (1, 64, 1024, 16384)}
SECONDS: Final = {"cpu": 3.0, "cuda": 1.0}
QUICK: Final = (4,)
PROCESSES: Final = 20
LEAST: Final = 10
LIMIT_S: Final = 600
"""After so long no further process is started, if there were at least `LEAST`."""
KEEPING: Final = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(4 << 30)}
"""Lets glibc keep the memory that it has. By default large outputs go back to the system at every
call and come anew, in up to 1,500 page faults: most of some passes, and what varies most."""


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def measure(options: Namespace) -> dict[str, Any]:
    """The figures of all policies, batch sizes and clocks of this machine's best device."""
    where = device()
    if where == "cpu":
        print("no GPU here: the figures are of the CPU, and nothing is said of a GPU", flush=True)
    if options.quick:
        effort, least, most = Effort(where, 0, QUICK, blocks=4, seconds=0.1), 2, 2
    else:
        effort, least, most = Effort(where, 0, BATCHES[where], 24, SECONDS[where]), LEAST, PROCESSES
    proofs = _proofs(where, effort.batches)
    taken: list[dict[str, Any]] = []
    start = time.monotonic()
    while len(taken) < most and (len(taken) < least or time.monotonic() - start < LIMIT_S):
        taken.append(_process(dataclasses.replace(effort, seed=len(taken))))
        spent = time.monotonic() - start
        print(f"{len(taken)} of {most} processes, {spent:.0f} s", flush=True)
    return {
        "device": _describe(where),
        "blocks": effort.blocks,
        "processes": [{k: one[k] for k in ("seed", "order", "load")} for one in taken],
        "rows": list(_rows(taken, proofs)),
    }


def _proofs(where: str, batches: Sequence[int]) -> dict[tuple[str, int], dict[str, Any]]:
    """What a pass of each policy and batch does, and in what the arms differ."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="forward-") as folder, clocks.one_thread():
        arms = policies.import_arms(Path(folder))
        for name in policies.SHAPES:
            built = policies.build(arms, name, where)
            for batch in batches:
                obs = policies.observations(name, batch, where)
                native, *others = (prove(p, functools.partial(p, obs)) for p in built.values())
                differ = sorted({part for other in others for part in native.differences(other)})
                found[name, batch] = {
                    "opcodes": native.opcodes,
                    "operators": len(native.operators),
                    "differences": differ,
                }
    return found


def _process(effort: Effort) -> dict[str, Any]:
    # Without `PYTHON*`: a fixed hash seed would give every process the same dictionaries.
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    env |= KEEPING
    command = [sys.executable, *forward_process.arguments(effort)]
    done = subprocess.run(command, env=env, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _rows(
    taken: Sequence[dict[str, Any]], proofs: dict[tuple[str, int], dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    for same in zip(*(one["rows"] for one in taken), strict=True):
        head = {key: same[0][key] for key in ("policy", "batch", "clock")}
        logs = {
            reading: {arm: [one["logs"][reading][arm] for one in same] for arm in arms}
            for reading, arms in same[0]["logs"].items()
        }
        found = compare(logs)
        print(
            f"{head['policy']:11} batch {head['batch']:<5} {head['clock']:6} {found[head['clock']]}"
        )
        yield {
            **head,
            **proofs[head["policy"], head["batch"]],
            "native_us": statistics.median(one["native_us"] for one in same),
            **dataclasses.asdict(found[head["clock"]]),
            "wall": dataclasses.asdict(found["wall"]) if "wall" in found else None,
            "rounds": [one["rounds"] for one in same],
            "logs": logs,
        }


def compare(logs: dict[str, dict[str, list[str]]]) -> dict[str, pooled.Comparison]:
    """What each reading of a row's clock says, of its published logarithms."""
    return {
        reading: pooled.compare(
            {arm: [blocks.unpacked(line) for line in lines] for arm, lines in arms.items()}
        )
        for reading, arms in logs.items()
    }


def _describe(where: str) -> dict[str, str]:
    if where == "cpu":
        return {"kind": "cpu"}
    found = torch.cuda.get_device_properties(0)
    return {
        "kind": "cuda",
        "name": found.name,
        "cuda": str(torch.version.cuda),
        "driver": clocks.driver(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    figures = result.command(result.parser("gpu_forward"), measure, arguments)
    wrong = [r for r in figures["rows"] if r["differences"] or r["verdict"].startswith("slower")]
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
