"""How long a training step waits for a checkpoint: beside `torch.save`, which waits for the disk.

Arms alternate in one process: `torch.save` of weights and optimizer, once more as the control, and
`CheckpointManager.save`, which copies and lets a thread write; the next arm starts when that thread
has written. Wall time, since waiting is what is asked.

Run from the repository's root:

    python -m benchmarks.saving [--quick] [--json FILE]
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import result

if TYPE_CHECKING:
    from argparse import Namespace

NOISE: Final = 0.10
ARMS: Final = ("torch.save", "control", "codevault")
_MODULE: Final = """
import torch
class Policy(torch.nn.Module):
    def __init__(self, width=1024):
        super().__init__()
        self.layers = torch.nn.Sequential(*[torch.nn.Linear(width, width) for _ in range({layers})])
    def forward(self, obs):
        return self.layers(obs)
"""


def compare(megabytes: int, rounds: int) -> dict[str, Any]:
    """Median waits of the arms in ms, for a policy of about so many megabytes, and their ratios."""
    import torch

    import codevault

    with tempfile.TemporaryDirectory() as top:
        for name in ("CODEVAULT_CACHE", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            os.environ[name] = str(Path(top, name))
        policy = _policy(Path(top, "repo"), max(1, megabytes // 4))
        optimizer = torch.optim.Adam(policy.parameters())
        policy(torch.ones(1, 1024)).sum().backward()
        optimizer.step()
        run = codevault.CheckpointManager(Path(top, "run"), probe=torch.ones(1, 1024), keep_last=2)
        run.save(policy, optimizer)  # the rehearsed one

        def wait(arm: str) -> float:
            start = time.perf_counter()
            if arm == "codevault":
                run.save(policy, optimizer)
            else:
                state = {"policy": policy.state_dict(), "optimizer": optimizer.state_dict()}
                torch.save(state, Path(top, f"{arm}.pt"))
            took = (time.perf_counter() - start) * 1e3
            run.wait()
            return took

        waits: dict[str, list[float]] = {arm: [] for arm in ARMS}
        for _ in range(rounds):
            for arm in random.sample(ARMS, len(ARMS)):
                waits[arm].append(wait(arm))
        run.close()
    medians = {arm: statistics.median(values) for arm, values in waits.items()}
    control, ratio = (round(medians[a] / medians["torch.save"], 3) for a in ARMS[1:])
    rounded = {arm: round(value, 1) for arm, value in medians.items()}
    report: dict[str, Any] = {"megabytes": megabytes, "rounds": rounds, "wait_ms": rounded}
    report["control_ratio"] = control
    if abs(control - 1) > NOISE:
        return {**report, "no_verdict": f"the control is off: {control}"}
    return {**report, "ratio": ratio}


def _policy(repo: Path, layers: int) -> Any:
    import importlib

    repo.mkdir()
    (repo / "slow_policy.py").write_text(_MODULE.format(layers=layers))
    git = ["git", "-C", str(repo), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    sys.path.insert(0, str(repo))
    sys.modules.pop("slow_policy", None)
    return importlib.import_module("slow_policy").Policy()


def measure(options: Namespace) -> dict[str, Any]:
    return compare(*((4, 2) if options.quick else (64, 15)))


def main() -> None:
    result.command(result.parser("saving"), measure)


if __name__ == "__main__":
    main()
