"""Keeping many commits of one repository ready to run: this cache beside other ways of doing it.

    codevault   this cache: pack, laid-out files, one code pack
    worktree    `git worktree add` for each commit
    control     the same once more
    uv          `uv pip install` of the commit into a folder of its own: clone, checkout, wheel
    hub         `snapshot_download` of huggingface_hub, from a server on the loopback
    package     `torch.package`: one archive of sources for each commit

All keep the same files of the same neighbouring commits of one local repository. Then a fresh
process gets the code object of every module of the newest commit, as an import does: from `.pyc`
files where there is a folder, from the code pack here, by compiling in `torch.package`. Only
codevault verifies what it reads. Disk space and inodes are what `du` says; compiled code apart.
uv and huggingface_hub are themselves (`pip install codevault[bench]`); where one is missing, or
cannot do it, the report says so, and has no figure under its name. Nobody waits for the disk, but
for one figure: what publishing takes here with fsync.

Run from the repository's root:

    python -m benchmarks.storing [--repo PATH --roots src] [--quick] [--json FILE]
"""

from __future__ import annotations

import compileall
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import result
from benchmarks.import_snapshot import HERE
from benchmarks.keeping import HUB_NAME, KEEP, generated, git, hub_served, lacking
from benchmarks.warm_load import MARK, MEMORY, between_marks, missing
from codevault.splint import compile_code
from codevault_cache import Cache, atomicwrite
from codevault_cache.usage import Usage

if TYPE_CHECKING:
    from argparse import Namespace

ARMS: Final = ("codevault", "worktree", "control", "uv", "hub", "package")


# -- a warm hit, in a process of its own ----------------------------------------------------------

_WARM: Final = """
import os, sys, time
from importlib.machinery import SourceFileLoader
sys.path[:0] = [{here!r}, {here!r} + "/importhook", {here!r} + "/cache"]
arm, place, repo, commit, roots, small = sys.argv[1:]
roots = roots.split(",")
count = 0
if arm == "codevault":
    import codevault
    for _ in 1, 2:
        codevault.load_code(small, None).import_module("small")
if arm == "package":
    from torch.package import PackageImporter
if arm == "hub":
    from huggingface_hub import snapshot_download
os.path.lexists({mark!r})
start = time.process_time()
if arm == "codevault":
    splint = codevault.load_code(repo, commit, roots=roots, shared=[], include=[])
    for path in splint.tree.paths:
        if path.endswith(".py"):
            splint._mount.code(path)
            count += 1
elif arm == "package":
    importer = PackageImporter(f"{{place}}/{{commit}}.zip")
    for path in importer.zip_reader.get_all_records():
        if path.endswith(".py"):
            importer._compile_source(path, path)
            count += 1
else:
    top = f"{{place}}/{{commit}}"
    if arm == "hub":
        top = snapshot_download({hub!r}, revision=commit, cache_dir=place, local_files_only=True)
    for root in [""] if arm == "uv" else roots:
        for where, folders, names in os.walk(f"{{top}}/{{root}}"):
            for name in names:
                if name.endswith(".py"):
                    SourceFileLoader("m", f"{{where}}/{{name}}").get_code("m")
                    count += 1
took = time.process_time() - start
os.path.lexists({mark!r})
print(count, took * 1e3)
"""


def compare(repo: str, roots: list[str], commits: list[str], rounds: int) -> dict[str, Any]:
    """All arms' figures over some commits, the oldest first."""
    atomicwrite.durable = False  # git and the others do not wait for the disk either
    with tempfile.TemporaryDirectory() as top:
        places = {arm: f"{top}/{arm}" for arm in ARMS}
        small = Path(top, "small")
        small.mkdir()
        (small / "small.py").write_text("import logging, math\n")
        missing = {arm: why for arm in ARMS if (why := lacking(arm, repo, commits[-1]))}
        report: dict[str, dict[str, Any]] = {}
        with hub_served(repo, roots, places["hub"]):
            for arm in (arm for arm in ARMS if arm not in missing):
                report[arm] = _kept(arm, repo, roots, commits, places[arm])
        clock = _clock(repo, roots, commits, f"{top}/clock")
        try:
            _warm_hits(report, places, repo, roots, commits[-1], str(small), rounds)
        finally:
            for arm in ("worktree", "control"):
                for commit in commits:
                    git(repo, "worktree", "remove", "--force", f"{places[arm]}/{commit}")
            subprocess.run(["chmod", "-R", "u+w", top], check=True)
    told = {"missing": list(missing.values()), "fsync_ms": clock}
    return {"commits": len(commits), "rounds": rounds, "arms": report, **told}


def _clock(repo: str, roots: list[str], commits: list[str], top: str) -> dict[str, float]:
    """Milliseconds on the clock that a publish takes, with fsync and without: medians."""
    took: dict[str, list[float]] = {"with": [], "without": []}
    for commit in commits[:12]:
        for arm in random.sample(list(took), 2):
            atomicwrite.durable = arm == "with"
            start = time.perf_counter()
            KEEP["codevault"](repo, commit, roots, f"{top}/{arm}")
            took[arm].append((time.perf_counter() - start) * 1e3)
    atomicwrite.durable = False
    return {arm: round(statistics.median(times), 1) for arm, times in took.items()}


def _kept(arm: str, repo: str, roots: list[str], commits: list[str], place: str) -> dict[str, Any]:
    took = []
    first = 0
    for commit in commits:
        before = _cpu()
        KEEP[arm](repo, commit, roots, place)
        took.append(_cpu() - before)
        first = first or Usage(place).bytes
    usage = Usage(place)
    found = {
        "publish_cpu_ms": round(statistics.median(took) * 1e3, 1),
        "mb": round(usage.bytes / 1e6, 2),
        "mb_each_further": round((usage.bytes - first) / max(1, len(commits) - 1) / 1e6, 3),
        "inodes_each": round(usage.count / len(commits), 1),
    }
    if arm == "codevault":
        cache = Cache.open(place)
        for entry in cache.ls():
            compile_code(entry.snapshot, cache)
    elif arm != "package":
        inner = f"models--{HUB_NAME.replace('/', '--')}/snapshots/" if arm == "hub" else ""
        compileall.compile_dir(f"{place}/{inner}{commits[-1]}", quiet=2, maxlevels=60)
    compiled = (Usage(place).bytes - usage.bytes) / (len(commits) if arm == "codevault" else 1)
    return {**found, "compiled_mb_each": round(compiled / 1e6, 3)}


def _cpu() -> float:
    both = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def _warm_hits(
    report: dict[str, dict[str, Any]],
    places: dict[str, str],
    repo: str,
    roots: list[str],
    commit: str,
    small: str,
    rounds: int,
) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    state = f"{places['codevault']}-state"
    env = {**clean, "CODEVAULT_CACHE": places["codevault"], "XDG_STATE_HOME": state}

    def command(arm: str) -> list[str]:
        program = _WARM.format(here=str(HERE), mark=MARK, hub=HUB_NAME)
        given = [arm, places[arm], repo, commit, ",".join(roots), small]
        return [sys.executable, "-c", program, *given]

    took: dict[str, list[float]] = {arm: [] for arm in report}
    for n in range(rounds + 1):
        for arm in random.sample(list(report), len(report)):
            done = subprocess.run(command(arm), env=env, check=True, capture_output=True)
            modules, milliseconds = done.stdout.split()
            report[arm]["modules"] = int(modules)
            if n:  # the first one fills the page cache
                took[arm].append(float(milliseconds))
    for arm in report:
        report[arm]["warm_cpu_ms"] = round(statistics.median(took[arm]), 1)
        if not missing():
            trace = Path(f"{places['codevault']}-trace")
            traced = ["strace", "-f", "-qq", "-o", str(trace), *command(arm)]
            subprocess.run(traced, env=env, check=True, capture_output=True)
            calls = between_marks(trace.read_text())
            report[arm]["opens"] = calls["openat"] + calls["open"]
            report[arm]["calls"] = calls.total() - sum(calls[name] for name in MEMORY)


def measure(options: Namespace) -> dict[str, Any]:
    modules, commits, rounds = (12, 3, 1) if options.quick else (200, 50, 7)
    with tempfile.TemporaryDirectory() as top:
        if options.repo is None:
            repo = generated(top, modules, commits)
            told = f"a generated repository, each commit changing one of {modules} modules"
        else:  # a clone, since worktrees are registered in the repository
            repo = f"{top}/repo"
            git(".", "clone", "-q", "--bare", "--local", options.repo, repo)
            told = f"neighbouring commits of a repository, roots {', '.join(options.roots)}"
        range_ = [f"--max-count={commits}", "--first-parent", "HEAD", "--", *options.roots]
        listed = git(repo, "rev-list", *range_).decode().split()
        return {"repository": told, **compare(repo, options.roots, listed[::-1], rounds)}


def main() -> None:
    line = result.parser("storing")
    line.add_argument("--repo", help="a local repository; a generated one by default")
    line.add_argument("--roots", nargs="+", default=["src"])
    result.command(line, measure)


if __name__ == "__main__":
    main()
