"""From an open file to assigned weights with every page touched: beside `safetensors`' own way.

The same tensors lie in a checkpoint and in a plain safetensors file, both in the page cache. Fresh
child processes alternate in random order; a second safetensors arm is the control. CPU and wall
time, and the anonymous memory that the weights cost.

Run from the repository's root:

    python -m benchmarks.weights [--quick] [--json FILE]
"""

from __future__ import annotations

import functools
import json
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

HERE: Final = Path(__file__).resolve().parent.parent
ARMS: Final = ("safetensors", "control", "codevault")
BUDGET: Final = 1.05
MEMORY: Final = 0.02
NOISE: Final = 0.05
_ROWS: Final = 1024


def child(top: str, arm: str, layers: int) -> dict[str, float]:
    """Loads once."""
    import safetensors.torch
    import torch

    from codevault import weights
    from codevault.checkpoint import open_checkpoint

    torch.set_num_threads(1)
    policy = _policy(layers)  # its own memory is never touched
    before = _anonymous()
    wall, cpu = time.perf_counter(), time.process_time()
    if arm == "codevault":
        checkpoint = open_checkpoint(f"{top}/policy.mpt")
        weights.verify_digest_once(checkpoint, f"{top}/marks")
        weights.assign(policy, weights.map_weights(checkpoint), where="policy.mpt", hint="")
    else:
        state = safetensors.torch.load_file(f"{top}/policy.safetensors")
        policy.load_state_dict(state, assign=True)
    pages = (p.detach().view(-1)[::1024] for p in policy.parameters())
    touched = sum(int(page.contiguous().view(torch.int32).sum()) for page in pages)
    return {
        "cpu_ms": (time.process_time() - cpu) * 1e3,
        "wall_ms": (time.perf_counter() - wall) * 1e3,
        "anonymous_mb": _anonymous() - before,
        "touched": float(touched),
    }


def _policy(layers: int) -> Any:
    import torch

    layer = functools.partial(torch.nn.utils.skip_init, torch.nn.Linear, _ROWS, _ROWS, bias=False)
    return torch.nn.ModuleList(layer() for _ in range(layers))


def _anonymous() -> float:
    """Anonymous resident memory of this process in MB; 0 where the system does not tell."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    (line,) = (line for line in text.splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) / 1024


def prepare(top: str, layers: int) -> None:
    """Writes both files, and reads the checkpoint once, so that its digest is known."""
    import safetensors.torch
    import torch

    from codevault import weights
    from codevault.checkpoint import open_checkpoint, write_checkpoint
    from codevault.manifest import Manifest

    torch.manual_seed(0)
    policy = _policy(layers)
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter)
    safetensors.torch.save_file(policy.state_dict(), f"{top}/policy.safetensors")
    prepared = weights.prepare(policy.state_dict())
    manifest = Manifest(
        codevault="0",
        digest="0" * 64,
        roots=(".",),
        python="3",
        packages={},
        architecture="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        weights=prepared.sha256,
        created="2026-01-01T00:00:00Z",
    )
    write_checkpoint(f"{top}/policy.mpt", manifest=manifest, architecture=b"", weights=prepared)
    os.makedirs(f"{top}/marks")
    time.sleep(0.1)  # a mark is left for files that are older than the clock's grain
    weights.verify_digest_once(open_checkpoint(f"{top}/policy.mpt"), f"{top}/marks")


def compare(megabytes: int, rounds: int) -> dict[str, Any]:
    """Medians of the arms, and what they say of the budget."""
    layers = max(1, megabytes // 4)
    with tempfile.TemporaryDirectory() as top:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}

        def one(arm: str) -> dict[str, float]:
            command = [sys.executable, "-c", _CHILD.format(here=str(HERE)), top, arm, str(layers)]
            done = subprocess.run(
                command, env=environment, check=True, capture_output=True, cwd=HERE
            )
            result: dict[str, float] = json.loads(done.stdout)
            return result

        one("prepare")
        sums = {one(arm)["touched"] for arm in ARMS}
        if len(sums) != 1:
            raise AssertionError("the arms read different weights")
        runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
        for _ in range(rounds):
            for arm in random.sample(ARMS, len(ARMS)):
                runs[arm].append(one(arm))
        size = os.path.getsize(f"{top}/policy.mpt") / 2**20
    keys = ("cpu_ms", "wall_ms", "anonymous_mb")
    medians = {a: {k: statistics.median(r[k] for r in runs[a]) for k in keys} for a in ARMS}
    plain = medians["safetensors"]
    ratios = {a: round(medians[a]["cpu_ms"] / plain["cpu_ms"], 3) for a in ARMS}
    share = round(medians["codevault"]["anonymous_mb"] / size, 4)
    report: dict[str, Any] = {"megabytes": megabytes, "rounds": rounds, "medians": medians}
    report |= {"control_ratio": ratios["control"], "anonymous_share": share}
    if abs(ratios["control"] - 1) > NOISE:
        return {**report, "no_verdict": f"the control is off: {ratios['control']}"}
    report["ratio"] = ratios["codevault"]
    return {**report, "within_budget": ratios["codevault"] <= BUDGET and share < MEMORY}


_CHILD = """
import json, sys
sys.path[:0] = [{here!r}, {here!r} + "/importhook", {here!r} + "/cache"]
from benchmarks import weights
top, arm, layers = sys.argv[1], sys.argv[2], int(sys.argv[3])
if arm == "prepare":
    weights.prepare(top, layers)
    print("{{}}")
else:
    print(json.dumps(weights.child(top, arm, layers)))
"""


def measure(options: Namespace) -> dict[str, Any]:
    return compare(*((16, 2) if options.quick else (1024, 11)))


def main() -> None:
    result.command(result.parser("weights"), measure)


if __name__ == "__main__":
    main()
