"""A cold fetch of one commit, against `git fetch --depth 1` and a checkout of it.

Both sides start from nothing, in fresh processes that alternate in random order, and end with the
commit's files on the disk; CPU time is user plus system, of the process and all that it started.
The budget is about the call: a fetch happens inside a program that runs Python anyway. `process`
adds Python's start and the import of the cache; `further` is a second call in one process, for
which the git library is imported already.
A second git arm is the control: if it is off by more than 10 %, no verdict is given. The server is
`git daemon` on the loopback; its time is not counted. Bytes are counted on the wire, by a relay, in
a run of their own.

Run from the repository's root:

    python -m benchmarks.cold_fetch [--quick] [--json FILE] [--repo PATH --commit SHA --folder PATH]
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import result
from benchmarks.git_server import Relay, served, write_repository

if TYPE_CHECKING:
    from argparse import Namespace

HERE: Final = Path(__file__).resolve().parent.parent
BUDGET: Final = 1.0
NOISE: Final = 0.10
ARMS: Final = ("git", "control", "codevault", "further")

_CODEVAULT: Final = """
import sys, time
sys.path.insert(0, {cache!r})
from codevault_cache import Cache, Wanted, warm
top, url, commit, root, calls = sys.argv[1:]
# All files, as git has them: by default those above 1 MiB are left out.
include = ("**" if root == "." else root + "/**",)
for call in range(int(calls)):
    cache = Cache.open(f"{{top}}/{{call}}")
    start = time.process_time()
    warm(cache, [Wanted(url, commit, roots=(root,), shared=(), include=include)])
print((time.process_time() - start) * 1e3)
"""
_GIT: Final = """
git init -q "$0"; cd "$0"; git fetch -q --depth 1 "$1" "$2"; git checkout -q FETCH_HEAD
"""


# -- one run of an arm ----------------------------------------------------------------------------


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "GIT_"))}
    quiet = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    return {**kept, **quiet}


def remove(top: str) -> None:
    # Laid-out files are read-only.
    for where, folders, _ in os.walk(top):
        for folder in folders:
            os.chmod(os.path.join(where, folder), 0o700)
    shutil.rmtree(top, ignore_errors=True)


def one(arm: str, top: str, url: str, commit: str, root: str) -> dict[str, float]:
    """Run an arm from nothing.

    Returns:
        Milliseconds: CPU and user time of all processes, wall time, and CPU time of the last call
        alone: for codevault from the call of `warm` on, in a process that has imported it.
    """
    if arm in ("codevault", "further"):
        program = _CODEVAULT.format(cache=str(HERE / "cache"))
        calls = "2" if arm == "further" else "1"
        command = [sys.executable, "-c", program, top, url, commit, root, calls]
    else:
        command = ["/bin/sh", "-ec", _GIT, top, url, commit]
    start = time.perf_counter()
    with subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{arm} failed with {status}")
    remove(top)
    cpu = (usage.ru_utime + usage.ru_stime) * 1e3
    return {
        "cpu_ms": cpu,
        "call_ms": float(said) if said else cpu,
        "user_ms": usage.ru_utime * 1e3,
        "wall_ms": wall * 1e3,
    }


# -- the comparison -------------------------------------------------------------------------------


def compare(repository: Path, commit: str, folder: str, rounds: int) -> dict[str, Any]:
    """Medians of all arms for one commit, their ratios to git, and the bytes of both."""
    with tempfile.TemporaryDirectory() as scratch, served(repository, Path(scratch)) as port:
        top = os.path.join(scratch, "top")

        def url(at: int) -> str:
            return f"git://127.0.0.1:{at}/{repository.name}"

        def wire_bytes(arm: str, root: str) -> int:
            relay = Relay(port)
            one(arm, top, url(relay.port), commit, root)
            relay.close()
            return relay.bytes

        received = {
            "git": wire_bytes("git", "."),
            "codevault, whole tree": wire_bytes("codevault", "."),
            f"codevault, {folder}": wire_bytes("codevault", folder),
        }
        results: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
        for _ in range(rounds):
            for arm in random.sample(ARMS, len(ARMS)):
                results[arm].append(one(arm, top, url(port), commit, "."))
    medians = {
        arm: {key: round(statistics.median(run[key] for run in runs), 1) for key in runs[0]}
        for arm, runs in results.items()
    }
    command = ["git", "-C", str(repository), "ls-tree", "-rl", commit]
    listed = subprocess.run(command, check=True, capture_output=True).stdout.splitlines()
    sizes = [line.split()[3] for line in listed]
    report: dict[str, Any] = {
        "files": len(sizes),
        "mb": round(sum(int(size) for size in sizes if size.isdigit()) / 1e6, 1),
        "rounds": rounds,
        "bytes": received,
        "medians": medians,
    }
    return {**report, **verdict(medians)}


def verdict(medians: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The ratios, and whether the budget is met; no verdict where the control is off."""

    def ratio(arm: str, key: str) -> float:
        return round(medians[arm][key] / medians["git"][key], 3)

    control = ratio("control", "cpu_ms")
    if abs(control - 1) > NOISE:
        return {"control_ratio": control, "no_verdict": f"the control is off: {control}"}
    report: dict[str, Any] = {
        "ratio": ratio("codevault", "cpu_ms"),
        "call_ratio": ratio("codevault", "call_ms"),
        "further_ratio": ratio("further", "call_ms"),
        "user_ratio": ratio("codevault", "user_ms"),
        "wall_ratio": ratio("codevault", "wall_ms"),
        "control_ratio": control,
        "control_user_ratio": ratio("control", "user_ms"),
    }
    return {**report, "within_budget": report["call_ratio"] <= BUDGET}


def measure(options: Namespace) -> dict[str, Any]:
    files, commits, rounds = (100, 3, 2) if options.quick else (2000, 300, 15)
    with tempfile.TemporaryDirectory() as work:
        if options.repo is None:
            repository = Path(work) / "generated.git"
            commit = write_repository(repository, files, commits)
        else:
            repository, commit = options.repo.resolve(), options.commit
        told = options.name or f"generated: standard library, {commits} commits"
        return {"repository": told, **compare(repository, commit, options.folder, rounds)}


def main() -> None:
    line = result.parser("cold_fetch")
    line.add_argument("--repo", type=Path, help="a bare repository to serve")
    line.add_argument("--name", help="what the page calls it")
    line.add_argument("--commit", help="a full commit id in it")
    line.add_argument("--folder", default="src/p7", help="the sub-tree whose bytes are counted")
    result.command(line, measure)


if __name__ == "__main__":
    main()
