"""What a second `codevault.prefetch` costs: 1,000 checkpoints of 50 commits, all in the cache.

Checkpoints lie on this machine, their repository behind git's own HTTP server on loopback, which
counts what it is asked. The first prefetch fetches and compiles. Then fresh processes prefetch the
same names; CPU time of `prefetch` alone, the import of `codevault` apart. The control arm opens the
checkpoints and reads their manifests, which no prefetch can do without.

Run from the repository's root:

    python -m benchmarks.second_prefetch [--quick] [--json FILE]
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import result

if TYPE_CHECKING:
    from argparse import Namespace

BUDGET_MS: Final = 1.0
"""CPU time for each URI."""

_ARMS: Final = {
    "prefetch": "report = codevault.prefetch([folder]); assert report.ok, report.failures[:1]; "
    "asked = report.requests",
    "manifests": "asked = 0\nfor path in sorted(os.scandir(folder), key=lambda e: e.name): "
    "open_checkpoint(path.path)",
}
_CHILD: Final = """
import json, os, sys, time
import codevault, codevault.prefetching
from codevault.checkpoint import open_checkpoint
folder = sys.argv[1]
start = time.process_time()
{arm}
print(json.dumps([(time.process_time() - start) * 1e3, asked]))
"""
_MODULE: Final = """
import torch
class Policy(torch.nn.Linear):
    version = {number}
    def __init__(self):
        super().__init__(4, 2)
"""


def compare(uris: int, commits: int, rounds: int) -> dict[str, Any]:
    """Median CPU ms a URI of both arms, and the requests that the server counted."""
    from tests.codevault import servers

    with tempfile.TemporaryDirectory() as top:
        served, runs = Path(top, "served"), Path(top, "runs")
        served.mkdir()
        runs.mkdir()
        for name in ("CODEVAULT_CACHE", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            os.environ[name] = str(Path(top, name))
        with servers.git(served) as site:
            _write(Path(top, "work"), served / "r.git", f"{site.url}/r.git", runs, uris, commits)
            os.environ["XDG_STATE_HOME"] = str(Path(top, "another user"))
            os.environ["CODEVAULT_TRUST"] = f"{site.url}/r.git"
            site.requests.clear()
            first = _run("prefetch", runs)
            counts = {"first": len(site.requests)}
            site.requests.clear()
            times: dict[str, list[float]] = {arm: [] for arm in _ARMS}
            for _ in range(rounds):
                for arm in random.sample(list(_ARMS), len(_ARMS)):
                    times[arm].append(_run(arm, runs) / uris)
            counts["second"] = len(site.requests)
    return {
        "uris": uris,
        "commits": commits,
        "requests": counts,
        "first_ms_a_uri": round(first / uris, 3),
        "ms_a_uri": {arm: round(statistics.median(found), 3) for arm, found in times.items()},
        "spread": {arm: [round(min(f), 3), round(max(f), 3)] for arm, f in times.items()},
    }


def _run(arm: str, runs: Path) -> float:
    code = _CHILD.format(arm=_ARMS[arm])
    done = subprocess.run(
        [sys.executable, "-c", code, str(runs)], check=True, capture_output=True, text=True
    )
    took, _ = json.loads(done.stdout)
    return float(took)


def _write(work: Path, bare: Path, url: str, runs: Path, uris: int, commits: int) -> None:
    """A repository with so many commits, and checkpoints saved in turn at each."""
    import importlib

    import codevault

    work.mkdir()
    git = ["git", "-C", str(work), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
    for key in ("allowFilter", "allowAnySHA1InWant"):
        subprocess.run(["git", "-C", bare, "config", f"uploadpack.{key}", "true"], check=True)
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    subprocess.run([*git, "remote", "add", "origin", url], check=True)
    subprocess.run([*git, "config", "remote.origin.pushurl", str(bare)], check=True)
    sys.path.insert(0, str(work))
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    for number in range(commits):
        (work / "second_policy.py").write_text(_MODULE.format(number=number))
        for command in (["add", "-A"], ["commit", "-qm", "next"], ["push", "-q", "origin", "main"]):
            subprocess.run([*git, *command], check=True)
        sys.modules.pop("second_policy", None)
        importlib.invalidate_caches()
        policy = importlib.import_module("second_policy").Policy()
        for each in range(number, uris, commits):
            codevault.save_policy(runs / f"{each:05}.mpt", policy, metadata={"epoch": each})
    sys.path.remove(str(work))
    del sys.modules["second_policy"]
    sys.dont_write_bytecode = before


def measure(options: Namespace) -> dict[str, Any]:
    return compare(*((4, 2, 1) if options.quick else (1000, 50, 7)))


def main() -> int:
    """1 where the second asked a server, or costs too much."""
    found = result.command(result.parser("second_prefetch"), measure)
    return int(found["requests"]["second"] > 0 or found["ms_a_uri"]["prefetch"] > BUDGET_MS)


if __name__ == "__main__":
    sys.exit(main())
