"""All faults in one run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.faults import disks, people, scenario, shim, traced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.tally import Tally


def tallies(step: int = 1) -> Iterator[Tally]:
    """Every kind of fault; every `step`th case of the long ones."""
    for act in scenario.ACTS:
        for arm in shim.ARMS:
            yield shim.faults(act, arm, step)
        yield shim.stopped(act, step)
    yield from disks.faults(step)
    yield from people.faults()
    for act in scenario.ACTS:
        yield traced.faults(act, step)


def main() -> int:
    """Print a line for each kind, every bad state, and the sums."""
    begin = time.monotonic()
    done = []
    for tally in tallies():
        done.append(tally)
        print(tally.line(), flush=True)
        for bad in tally.bad:
            print(f"  BAD {bad}", flush=True)
    cases, wrong = sum(t.cases for t in done), sum(len(t.bad) for t in done)
    print(f"{cases} faults, {wrong} bad states, {time.monotonic() - begin:.0f} s")
    return 1 if wrong else 0
