"""A policy's whole load, small to large, beside other ways to bring its weights into memory.

    python -m benchmarks.loading [--quick] [--json FILE]

A policy of linear layers stands in a repository; its weights lie in a checkpoint, in a safetensors
file and in a `torch.save` file. Fresh processes in random order, everything imported before the
clock starts:

    read          the bytes of the weights, into one buffer of 8 MiB: the limit
    load_file     `safetensors.torch.load_file`, assigned to a policy built without initialisation
    control       the same again
    torch.load    `weights_only=True`, into a policy built as users do
    torch.load, mapped    `weights_only=True, mmap=True`, assigned as for load_file
    weights       codevault's part that maps and assigns
    load_policy   all of it: trust, code, build, weights, audit and the replay of the probe
    load_policy, no probe

*Load* ends when every page was touched, *action* when the policy has answered once after that. Warm
files stand in the page cache; of cold ones it is emptied before each run. On a machine with a GPU
all arms also move the policy there.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any, Final

from benchmarks import result
from benchmarks.import_snapshot import HERE
from benchmarks.loaders import LAYER_BYTES

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

ARMS: Final = (
    *("read", "load_file", "control", "torch.load", "torch.load, mapped", "weights"),
    *("load_policy", "load_policy, no probe"),
)
KEYS: Final = ("load_cpu_ms", "load_ms", "action_ms", "anonymous_mb", "file_mb")
NOISE: Final = 0.10


def compare(megabytes: int, rounds: int, device: str, *, cold: bool) -> dict[str, Any]:
    """Medians of the arms for weights of one size.

    Args:
        megabytes: Of the weights, MiB.
        rounds: How often each arm runs.
        device: Where the policy goes.
        cold: Whether the page cache is emptied of the files before each run.
    """
    layers = max(1, (megabytes << 20) // LAYER_BYTES)
    with tempfile.TemporaryDirectory(prefix="loading-") as top:
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        places = ("CODEVAULT_CACHE", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
        env |= {name: f"{top}/{name}" for name in places}

        def one(arm: str) -> dict[str, float]:
            if cold and arm != "prepare":
                for name in ("policy.pt", "policy.safetensors", "policy.mpt"):
                    _forget(f"{top}/{name}")
            command = [sys.executable, "-c", _CHILD.format(here=str(HERE))]
            command += [top, arm, str(layers), device]
            done = subprocess.run(command, env=env, check=True, capture_output=True, cwd=top)
            found: dict[str, float] = json.loads(done.stdout)
            return found

        one("prepare")
        for arm in ARMS:  # writes `.pyc` files and the code pack, and verifies the digest once
            one(arm)
        runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
        for _ in range(rounds):
            for arm in random.sample(ARMS, len(ARMS)):
                runs[arm].append(one(arm))
        subprocess.run(["chmod", "-R", "u+w", top], check=True)
    medians = {
        arm: {key: round(statistics.median(run[key] for run in runs[arm]), 2) for key in KEYS}
        for arm in ARMS
    }
    report: dict[str, Any] = {"megabytes": megabytes, "cold": cold, "device": device}
    report |= {"rounds": rounds, "medians": medians}
    return {**report, **judge(medians)}


def judge(medians: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The ratios of CPU time to `load_file`, where its control allows any."""
    base = medians["load_file"]["load_cpu_ms"]
    ratios = {arm: round(found["load_cpu_ms"] / base, 3) for arm, found in medians.items()}
    if abs(ratios["control"] - 1) > NOISE:
        return {"no_verdict": f"the control is off: {ratios['control']}"}
    return {"ratios": ratios}


def _forget(path: str) -> None:
    """Empties the page cache of a file that was written out."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


_CHILD: Final = """
import json, sys
sys.path[:0] = [{here!r}, {here!r} + "/importhook", {here!r} + "/cache"]
from benchmarks import loaders
top, arm, layers, device = sys.argv[1:]
if arm == "prepare":
    loaders.prepare(top, int(layers))
    print("{{}}")
else:
    print(json.dumps(loaders.child(top, arm, int(layers), device)))
"""


def measure(options: Namespace) -> dict[str, Any]:
    import torch

    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    sizes: Sequence[int] = (1, 8) if options.quick else (1, 32, 1024)
    rounds = 1 if options.quick else 3
    rows = [
        compare(size, rounds, device, cold=cold)
        for device in devices
        for size in sizes
        for cold in (False, True)
    ]
    return {"rows": rows}


def main() -> None:
    result.command(result.parser("loading"), measure)


if __name__ == "__main__":
    main()
