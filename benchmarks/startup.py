"""What the start-up file by which workers find splints costs a bare interpreter.

    python -m benchmarks.startup [--quick] [--json FILE]

Fresh interpreters without `site` add a folder of their own as a site folder: one that is empty
(`bare`), one with the start-up file, and the same once more (`control`). CPU time of each process,
in random order. The cost is claimed if it and the control's differ by less than a tenth of the
budget.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any, Final

from benchmarks import result
from benchmarks.import_snapshot import HERE

if TYPE_CHECKING:
    from argparse import Namespace

ARMS: Final = ("bare", "startup", "control")
BUDGET_MS: Final = 0.5
_START: Final = "import sys, site; sys.path.append(sys.argv[2]); site.addsitedir(sys.argv[1])"


def compare(rounds: int) -> dict[str, Any]:
    """Medians of the arms in ms of CPU time, and what the start-up file adds."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CODEVAULT_"))}
    with tempfile.TemporaryDirectory(prefix="startup-") as top:
        for arm in ARMS:
            os.mkdir(f"{top}/{arm}")
            if arm != "bare":
                shutil.copy(HERE / "importhook" / "codevault-splints.pth", f"{top}/{arm}")

        def one(arm: str) -> float:
            command = [sys.executable, "-ISc", _START, f"{top}/{arm}", str(HERE / "importhook")]
            with subprocess.Popen(command, env=env, stderr=subprocess.PIPE) as process:
                assert process.stderr is not None
                said = process.stderr.read()
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            if status or said:  # `site` prints what goes wrong in a start-up file
                raise RuntimeError(said.decode())
            return (usage.ru_utime + usage.ru_stime) * 1e3

        for arm in ARMS:
            one(arm)
        times: dict[str, list[float]] = {arm: [] for arm in ARMS}
        for _ in range(rounds):
            for arm in random.sample(ARMS, len(ARMS)):
                times[arm].append(one(arm))
    medians = {arm: statistics.median(values) for arm, values in times.items()}
    return {"rounds": rounds, **judge(medians)}


def judge(medians: dict[str, float]) -> dict[str, Any]:
    off = abs(medians["control"] - medians["startup"])
    report: dict[str, Any] = {"bare_ms": round(medians["bare"], 2), "control_ms": round(off, 3)}
    if off > BUDGET_MS / 10:
        return {**report, "no_verdict": f"two equal arms differ by {off:.2f} ms"}
    cost = medians["startup"] - medians["bare"]
    return {**report, "cost_ms": round(cost, 3), "within_budget": cost <= BUDGET_MS}


def measure(options: Namespace) -> dict[str, Any]:
    return compare(3 if options.quick else 200)


def main() -> None:
    result.command(result.parser("startup"), measure)


if __name__ == "__main__":
    main()
