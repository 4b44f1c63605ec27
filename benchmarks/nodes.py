"""What warming N nodes asks of a git server, of a mirror, and of a shared folder: a model.

Measured are the costs of one node: requests, bytes, CPU and wall time on the loopback, of fresh
processes that start from nothing and leave code ready to run; and how many calls with a path in a
shared folder one process makes that imports a package from there, counted by strace. All else is
`ASSUMED`: the rates at which servers answer, which no single machine can show. A node's own part is
its CPU time, on one core: what else ran on the machine that measured does not count. What the
imports themselves cost is in no arm.

    clone    every node clones the repository from the git server, and compiles the commit's files
    each     every node prefetches from the git server
    mirror   one node prefetches and publishes, the others prefetch from the mirror
    shared   nobody fetches: every process imports from one shared folder, `.pyc` files included

Run from the repository's root:

    python -m benchmarks.nodes [--quick] [--json FILE]
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import result
from benchmarks.cold_fetch import remove
from benchmarks.git_server import write_repository
from benchmarks.import_tree import write_tree
from benchmarks.warm_load import missing

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping, Sequence

NODES: Final = (10, 1_000, 10_000)
ASSUMED: Final = {
    "git_server_cores": 16,
    "server_gbit_s": 10.0,
    "round_trip_ms": 1.0,
    "metadata_call_ms": 0.5,
    "metadata_server_calls_s": 30_000,
}
"""Not measured here: what a loaded Lustre metadata server is said to do, for one."""

_CLONE: Final = """
git clone -q "$1" "$0"; git -C "$0" checkout -q "$2"; "$3" -m compileall -q "$0/src" || true
"""
"""Some of the standard library's own tests are no modules, and say so when they are compiled."""
_IMPORT: Final = "import sys; sys.path.insert(0, sys.argv[1]); import big.main"
_CALL: Final = re.compile(r"^\d+ +(\w+)\(")

Cost = dict[str, float]


def one(command: Sequence[str], env: Mapping[str, str]) -> Cost:
    """Runs one node's work; its CPU and wall time, and the CPU time of servers meanwhile."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with subprocess.Popen(command, env=dict(env), stdout=subprocess.DEVNULL) as process:
        _, status, own = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if status:
        raise RuntimeError(f"{command[:5]} failed with {status}")
    cpu = own.ru_utime + own.ru_stime
    all_of_them = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_s": cpu, "wall_s": wall, "git_cpu_s": max(0.0, all_of_them - cpu)}


def fetching(files: int, commits: int, rounds: int) -> dict[str, Cost]:
    """Median costs of one node of each way that fetches, and of the one that publishes."""
    from tests.codevault import servers

    with tempfile.TemporaryDirectory() as work:
        served, mirror = Path(work, "served"), Path(work, "mirror")
        served.mkdir()
        mirror.mkdir()
        commit = write_repository(served / "r.git", files, commits)
        for key in ("allowFilter", "allowAnySHA1InWant"):
            subprocess.run(
                ["git", "-C", str(served / "r.git"), "config", f"uploadpack.{key}", "true"],
                check=True,
            )
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "GIT_"))}
        quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        places = {"XDG_STATE_HOME": f"{work}/state", "XDG_CONFIG_HOME": f"{work}/config"}
        with servers.git(served) as git, servers.web(mirror, ranges=True) as web:
            url, top = f"{git.url}/r.git", f"{work}/top"
            env = {**kept, **quiet, **places, "CODEVAULT_CACHE": top}
            named = f"{url}@{commit}"
            codevault = [sys.executable, "-m", "codevault"]
            fill = [*codevault, "publish", named, "--to", str(mirror)]
            arms = {
                "clone": (["sh", "-ec", _CLONE, top, url, commit, sys.executable], env),
                "each": ([*codevault, "prefetch", named], env),
                "publishing": (fill, env),
                "mirror": (
                    [*codevault, "prefetch", named],
                    {**env, "CODEVAULT_MIRROR": web.url},
                ),
            }
            found: dict[str, list[Cost]] = {arm: [] for arm in arms}
            for _ in range(rounds):
                for arm, (command, settings) in arms.items():
                    if arm == "publishing":
                        shutil.rmtree(mirror / "v1", ignore_errors=True)
                    asked = len(git.requests), git.sent, len(web.requests), web.sent
                    cost = one(command, settings)
                    cost["git_requests"] = len(git.requests) - asked[0]
                    cost["git_bytes"] = git.sent - asked[1]
                    cost["mirror_requests"] = len(web.requests) - asked[2]
                    cost["mirror_bytes"] = web.sent - asked[3]
                    found[arm].append(cost)
                    remove(top)
    return {
        arm: {key: round(statistics.median(run[key] for run in runs), 4) for key in runs[0]}
        for arm, runs in found.items()
    }


def importing(modules: int) -> dict[str, Any]:
    """Calls with a path in a shared folder, of one process that imports a package from there."""
    with tempfile.TemporaryDirectory() as top:
        tree, trace = Path(top, "shared"), Path(top, "trace")
        write_tree(tree, modules)
        program = [sys.executable, "-c", _IMPORT, str(tree / "src")]
        subprocess.run(program, check=True)  # writes the .pyc files
        traced = [
            "strace",
            "-f",
            "-qq",
            "-e",
            "trace=%file",
            "-s",
            "4096",
            "-o",
            str(trace),
            *program,
        ]
        subprocess.run(traced, check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        lines = [line for line in trace.read_text().splitlines() if str(tree) in line]
    calls = [found[1] for line in lines if (found := _CALL.match(line))]
    by_name = {name: calls.count(name) for name in sorted(set(calls)) if name != "execve"}
    return {"modules": modules, "calls": sum(by_name.values()), "by_name": by_name}


def modelled(cost: Mapping[str, Cost], calls: int | None) -> list[dict[str, Any]]:
    """Requests, bytes and seconds for each number of nodes, all starting at once."""
    rate = ASSUMED["server_gbit_s"] * 1e9 / 8
    cores = ASSUMED["git_server_cores"]
    rows = []
    for nodes in NODES:
        for arm in ("clone", "each", "mirror"):
            each = cost[arm]
            first = cost["publishing"] if arm == "mirror" else None
            git = {key: each[f"git_{key}"] * nodes for key in ("requests", "bytes", "cpu_s")}
            asked = each["git_requests"] + each["mirror_requests"]
            wait = each["cpu_s"] + asked * ASSUMED["round_trip_ms"] / 1e3
            if first is not None:
                git = {key: first[f"git_{key}"] for key in git}
                wait = first["cpu_s"] + max(wait, each["mirror_bytes"] * nodes / rate)
            busy = max(git["cpu_s"] / cores, git["bytes"] / rate)
            rows.append(
                {
                    "way": arm,
                    "nodes": nodes,
                    "git_requests": round(git["requests"]),
                    "git_mb": round(git["bytes"] / 1e6, 1),
                    "mirror_mb": round(each["mirror_bytes"] * nodes / 1e6, 1),
                    "seconds": round(max(wait, busy), 1),
                }
            )
        if calls is None:
            continue
        one_by_one = calls * ASSUMED["metadata_call_ms"] / 1e3
        together = calls * nodes / ASSUMED["metadata_server_calls_s"]
        seconds = round(max(one_by_one, together), 1)
        empty = {"git_requests": 0, "git_mb": 0.0, "mirror_mb": 0.0}
        rows.append({"way": "shared", "nodes": nodes, **empty, "seconds": seconds})
    return rows


def measure(options: Namespace) -> dict[str, Any]:
    files, commits, rounds, modules = (20, 4, 1, 10) if options.quick else (100, 300, 5, 200)
    cost = fetching(files, commits, rounds)
    shared: dict[str, Any] = {"modules": modules, "no_figure": missing()}
    if not missing():
        shared = importing(modules)
    told = f"generated: {files} modules of the standard library, {commits} commits"
    rows = modelled(cost, shared.get("calls"))
    return {
        "repository": told,
        "rounds": rounds,
        "assumed": ASSUMED,
        "a_node": cost,
        "shared": shared,
        "rows": rows,
    }


def main() -> int:
    result.command(result.parser("nodes"), measure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
