"""Does isolation cost time in a forward pass? On a GPU where there is one, and on the CPU without.

    python -m benchmarks.gpu_forward [--quick] [--json FILE]

Four arms on the same parameter storages: native, native again, isolated, and isolated with a
planted slowdown of 2%, which the method must find. What each pass does is proved equal before it is
timed (`benchmarks.proof`). On CUDA three clocks: events on the device, the host's time to launch,
and the replay of a CUDA graph; on the CPU one, the wall clock of one thread.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks import clocks, policies, result
from benchmarks.paired import compare
from benchmarks.proof import prove

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

PLANTED = 0.02
BATCHES = {"cpu": (1, 64, 512), "cuda": (1, 64, 1024, 16384)}
QUICK = (4,)


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def measure(options: Namespace) -> dict[str, Any]:
    """The figures of all policies, batch sizes and clocks of this machine's best device."""
    where = device()
    blocks, slice_us = (12, 300) if options.quick else (400, 1500)
    if where == "cpu":
        print("no GPU here: the figures are of the CPU, and nothing is said of a GPU", flush=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="forward-") as folder, clocks.one_thread():
        arms = policies.import_arms(Path(folder))
        for name in policies.SHAPES:
            built = policies.build(arms, name, where)
            for batch in QUICK if options.quick else BATCHES[where]:
                obs = policies.observations(name, batch, where)
                rows += _rows(name, built, obs, blocks, slice_us)
    return {"device": _describe(where), "blocks": blocks, "rows": rows}


def _rows(
    name: str, built: dict[str, Any], obs: torch.Tensor, blocks: int, slice_us: float
) -> list[dict[str, Any]]:
    native, *others = (prove(p, functools.partial(p, obs)) for p in built.values())
    differ = sorted({part for other in others for part in native.differences(other)})
    head = {"policy": name, "batch": len(obs), "opcodes": native.opcodes}
    head |= {"operators": len(native.operators), "differences": differ}
    rows = []
    for clock in clocks.CLOCKS[obs.device.type]:
        with torch.inference_mode():
            calls = {arm: clock.prepare(policy, obs) for arm, policy in built.items()}
            once_ns = min(clock.time(calls["native"], 10) for _ in range(5))
            calls["planted"] = clock.slowed(built["isolated"], obs, PLANTED * once_ns)
            inner = max(2, round(slice_us * 1e3 / once_ns))
            timed = {arm: functools.partial(clock.time, call, inner) for arm, call in calls.items()}
            found = compare(timed, blocks, seed=len(obs))
        print(f"{name:11} batch {len(obs):<5} {clock.name:7} {found}", flush=True)
        rows.append({**head, "clock": clock.name, **dataclasses.asdict(found)})
    return rows


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
