"""One of the processes over which the figures of the forward pass are pooled.

It imports and builds the arms in a random order of its own, which moves where they lie in memory,
and prints what it timed as JSON: `python -m benchmarks.forward_process`, with an `Effort` as JSON.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import os
import random
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from benchmarks import blocks, clocks, policies, proof
from benchmarks.pooled import PLANTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.clocks import Clock

# The planted arm is native code too: what is planted is then 2%, whatever isolation costs.
ARMS: Final = ("native", "again", "isolated", "planted")


@dataclass(frozen=True, slots=True)
class Effort:
    """How much one process measures.

    Attributes:
        device: Where: `cpu` or `cuda`.
        seed: Of the orders.
        batches: Sizes of the batches.
        blocks: How many for a row; every process gives as many.
        seconds: For a row; they decide how many rounds a block has, at least one.
    """

    device: str
    seed: int
    batches: tuple[int, ...]
    blocks: int
    seconds: float


def measure(effort: Effort) -> dict[str, Any]:
    """The logarithms of all rows, and the conditions they were taken in."""
    dice = random.Random(effort.seed)
    order = dice.sample(ARMS, len(ARMS))
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="forward-") as folder, clocks.one_thread():
        modules = policies.import_arms(Path(folder), order)
        rows = list(_rows(modules, effort, dice))
    return {"seed": effort.seed, "order": order, "load": round(load, 1), "rows": rows}


def _rows(
    modules: Mapping[str, Any], effort: Effort, dice: random.Random
) -> Iterator[dict[str, Any]]:
    for name in policies.SHAPES:
        order = dice.sample(ARMS, len(ARMS))
        built = policies.build({arm: modules[arm] for arm in order}, name, effort.device)
        for batch in effort.batches:
            obs = policies.observations(name, batch, effort.device)
            values = [list(proof.tensors(policy(obs))) for policy in built.values()]
            for other in values[1:]:
                assert all(map(torch.equal, values[0], other)), "arms give different outputs"
            for clock in clocks.CLOCKS[effort.device]:
                row = {"policy": name, "batch": batch, "clock": clock.name}
                with torch.inference_mode():
                    found = _row(clock, built, obs, effort, dice)
                yield row | found


def _row(
    clock: Clock, built: Mapping[str, Any], obs: torch.Tensor, effort: Effort, dice: random.Random
) -> dict[str, Any]:
    def take(amount: int, rounds: float) -> blocks.Blocks:
        timed = {arm: functools.partial(clock.time, call, inner) for arm, call in calls.items()}
        return blocks.take(timed, clock.readings, amount, max(1, round(rounds)), dice)

    def rounds_in(seconds: float, call_ns: float) -> float:
        return seconds * 1e9 / (2 * len(ARMS) * inner * call_ns)

    calls = {arm: clock.prepare(policy, obs) for arm, policy in built.items()}
    once_ns = min(clock.time(calls["native"], 5))
    inner = max(1, round(clock.slice_us * 1e3 / once_ns))
    # How long the work takes depends on what runs before and after it, and on what else the machine
    # does, by up to half: alone it says little. So five times as much is timed where it will stand.
    trial = 5 * PLANTED
    calls["planted"] = clock.slowed(built["planted"], obs, trial * once_ns)
    first = take(1, min(64, max(7, rounds_in(effort.seconds / 5, once_ns))))
    added = max(PLANTED, math.expm1(first.logs[clock.name]["planted"][0]))
    calls["planted"] = clock.slowed(built["planted"], obs, PLANTED * once_ns * trial / added)
    call_ns = statistics.median(first.native[clock.readings[-1]])  # by the wall, if it is read
    found = take(effort.blocks, min(32, rounds_in(effort.seconds / effort.blocks, call_ns)))
    return {
        "rounds": len(found.native[clock.name]) // effort.blocks,
        "native_us": round(statistics.median(found.native[clock.name]) / 1e3, 2),
        "logs": {
            reading: {arm: blocks.packed(logs) for arm, logs in arms.items()}
            for reading, arms in found.logs.items()
        },
    }


def main(text: str) -> None:
    with contextlib.redirect_stdout(sys.stderr):  # standard output is the figures alone
        found = measure(Effort(**json.loads(text)))
    print(json.dumps(found))


def arguments(effort: Effort) -> list[str]:
    """The command line, after the interpreter, that measures so much."""
    return ["-m", "benchmarks.forward_process", json.dumps(dataclasses.asdict(effort))]


if __name__ == "__main__":
    main(sys.argv[1])
