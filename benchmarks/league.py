"""A league: a thousand checkpoints of fifty commits meet in one process, again and again.

    python -m benchmarks.league [--quick] [--json FILE]

Each match loads two checkpoints, plays a few steps and lets both policies go. Every commit has code
of its own. Beside it, in processes of their own, the same matches with one version of the code that
the application imports: `safetensors.torch.load_file` into a new policy (`native`, and once more as
the control). What a load costs is told for the first time that a commit is met and for later ones;
memory after every tenth of the matches. Once all commits were met it must not grow: `leak_mb` is
what the last half of the matches added.
"""

from __future__ import annotations

import gc
import importlib
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
from benchmarks.import_snapshot import HERE

if TYPE_CHECKING:
    from argparse import Namespace

ARMS: Final = ("native", "control", "codevault")
NOISE: Final = 0.10
LEAK_MB: Final = 2.0
_STEPS: Final = 8
_MODULE: Final = """
import torch
from league_parts import CONSTANT

class Policy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.Tanh())
        self.head = torch.nn.Linear(64, 8)

    def forward(self, obs):
        return self.head(self.body(obs)) + {number} * CONSTANT
"""


def child(top: str, arm: str, matches: int, commits: int) -> dict[str, Any]:
    """Plays all matches in this process."""
    import torch

    importlib.import_module("codevault.load")
    torch.set_num_threads(1)
    load = _codevault if arm == "codevault" else _native
    files = sorted(Path(top, "runs").glob("*.mpt"))
    obs = torch.ones(1, 32)
    choose = random.Random(7)
    met: set[int] = set()
    costs: dict[str, list[float]] = {"first": [], "later": []}
    memory = []
    for match in range(matches):
        pair = choose.sample(range(len(files)), 2)
        for index in pair:
            start = time.process_time()
            policy = load(files[index])
            took = (time.process_time() - start) * 1e3
            commit = index % commits
            costs["later" if commit in met else "first"].append(took)
            met.add(commit)
            with torch.no_grad():
                for _ in range(_STEPS):
                    policy(obs)
        if (match + 1) % max(1, matches // 10) == 0:
            del policy
            gc.collect()
            memory.append(_anonymous())
    middle, last = memory[len(memory) // 2 - 1], memory[-1]
    return {
        "first_ms": statistics.median(costs["first"]),
        "later_ms": statistics.median(costs["later"]),
        "memory_mb": [round(value, 1) for value in memory],
        "leak_mb": round(last - middle, 2),
        "commits": len(met),
    }


def _codevault(file: Path) -> Any:
    import codevault

    return codevault.load_policy(file)


def _native(file: Path) -> Any:
    import safetensors.torch

    policy = importlib.import_module("league_policy").Policy()
    policy.load_state_dict(safetensors.torch.load_file(file.with_suffix(".safetensors")))
    return policy.eval()


def _anonymous() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1000
    return 0.0


def prepare(top: str, checkpoints: int, commits: int) -> None:
    """A repository of so many commits, and checkpoints saved in turn at each."""
    import safetensors.torch
    import torch

    import codevault

    work, runs = Path(top, "work"), Path(top, "runs")
    work.mkdir()
    runs.mkdir()
    git = ["git", "-C", str(work), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    (work / "league_parts.py").write_text("CONSTANT = 0.001\n")
    sys.path.insert(0, str(work))
    sys.dont_write_bytecode = True
    torch.manual_seed(0)
    probe = torch.ones(1, 32)
    for number in range(commits):
        (work / "league_policy.py").write_text(_MODULE.format(number=number))
        for command in (["add", "-A"], ["commit", "-qm", "next"]):
            subprocess.run([*git, *command], check=True)
        sys.modules.pop("league_policy", None)
        importlib.invalidate_caches()
        policy = importlib.import_module("league_policy").Policy()
        for each in range(number, checkpoints, commits):
            codevault.save_policy(runs / f"{each:05}.mpt", policy, probe=probe)
            safetensors.torch.save_file(policy.state_dict(), runs / f"{each:05}.safetensors")
    codevault.prefetch([str(runs)])


def compare(checkpoints: int, commits: int, matches: int, rounds: int) -> dict[str, Any]:
    """The medians of all arms, and whether memory stays where it is once all commits were met."""
    with tempfile.TemporaryDirectory(prefix="league-") as top:
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        places = ("CODEVAULT_CACHE", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
        env |= {name: f"{top}/{name}" for name in places}

        def one(*arguments: object) -> dict[str, Any]:
            command = [sys.executable, "-c", _CHILD.format(here=str(HERE)), top]
            command += map(str, arguments)
            done = subprocess.run(command, env=env, check=True, capture_output=True, cwd=top)
            found: dict[str, Any] = json.loads(done.stdout)
            return found

        one("prepare", checkpoints, commits)
        runs: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
        for _ in range(rounds):
            for arm in random.sample(ARMS, len(ARMS)):
                runs[arm].append(one(arm, matches, commits))
        subprocess.run(["chmod", "-R", "u+w", top], check=True)
    report: dict[str, Any] = {"checkpoints": checkpoints, "commits": commits, "matches": matches}
    return {**report, "rounds": rounds, **judge(runs)}


def judge(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    def median(arm: str, key: str) -> float:
        return round(float(statistics.median(run[key] for run in runs[arm])), 2)

    keys = ("first_ms", "later_ms", "leak_mb")
    medians = {arm: {key: median(arm, key) for key in keys} for arm in runs}
    control = round(medians["control"]["later_ms"] / medians["native"]["later_ms"], 3)
    found: dict[str, Any] = {"medians": medians, "control_ratio": control}
    found["memory_mb"] = {arm: found[0]["memory_mb"] for arm, found in runs.items()}
    leak = medians["codevault"]["leak_mb"] - medians["native"]["leak_mb"]
    found["memory"] = "flat" if leak <= LEAK_MB else f"grew by {leak:.1f} MB"
    if abs(control - 1) > NOISE:
        return {**found, "no_verdict": f"the control is off: {control}"}
    more = medians["codevault"]["later_ms"] - medians["native"]["later_ms"]
    return {**found, "more_ms_a_load": round(more, 2)}


_CHILD: Final = """
import json, sys
sys.path[:0] = [sys.argv[1] + "/work", {here!r}, {here!r} + "/importhook", {here!r} + "/cache"]
from benchmarks import league
top, arm, many, commits = sys.argv[1:]
if arm == "prepare":
    league.prepare(top, int(many), int(commits))
    print("{{}}")
else:
    print(json.dumps(league.child(top, arm, int(many), int(commits))))
"""


def measure(options: Namespace) -> dict[str, Any]:
    return compare(*((8, 4, 20, 1) if options.quick else (1000, 50, 1000, 3)))


def main() -> int:
    """1 where memory grew."""
    return int(result.command(result.parser("league"), measure)["memory"] != "flat")


if __name__ == "__main__":
    sys.exit(main())
