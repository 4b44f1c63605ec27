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
    few, many = 2 * PLANTED * once_ns, 6 * PLANTED * once_ns
    policy = built["planted"]
    calls["few"], calls["many"] = (clock.slowed(policy, obs, ns) for ns in (few, many))
    first = take(1, min(128, max(12, rounds_in(effort.seconds / 4, once_ns))))
    bare, less, more = (first.logs[clock.name][arm][0] for arm in ("planted", "few", "many"))
    calls = {arm: calls[arm] for arm in ARMS}
    planted_ns = plant(few, math.expm1(less - bare), many, math.expm1(more - bare))
    calls["planted"] = clock.slowed(policy, obs, planted_ns)
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


def plant(few: float, less: float, many: float, more: float) -> float:
    """How much work to plant, of two trials in the place where it will stand.

    How long work takes depends on what runs before and after it, and on what else the machine does,
    by up to half: alone it says little. It also takes a microsecond to begin. Both show in how the
    time grows. What that gives is kept within bounds, for a trial may be all noise.

    Args:
        few: Nanoseconds of work, as the clock was told.
        less: By what share of a pass they slowed it.
        many: As `few`, more of it.
        more: As `less`, by these.
    """
    each = (more - less) / (many - few)
    found = few + (PLANTED - less) / each if each > 0 else 0
    return min(few, max(few / 5, found))


def main(text: str) -> None:
    with contextlib.redirect_stdout(sys.stderr):  # standard output is the figures alone
        found = measure(Effort(**json.loads(text)))
    print(json.dumps(found))


def arguments(effort: Effort) -> list[str]:
    """The command line, after the interpreter, that measures so much."""
    return ["-m", "benchmarks.forward_process", json.dumps(dataclasses.asdict(effort))]


if __name__ == "__main__":
    main(sys.argv[1])
