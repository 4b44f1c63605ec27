"""Keeping many commits of one repository ready to run: this cache beside other ways of doing it.

    codevault   this cache: pack, laid-out files, one code pack
    worktree    `git worktree add` for each commit
    control     the same once more
    clone       a local clone and checkout for each commit, as uv keeps git dependencies
    hub         files named by their content and a folder of links for each commit, as the Hugging
                Face hub's cache has them; written by this benchmark
    package     `torch.package`: one archive of sources for each commit

All keep the same files of the same neighbouring commits of one local repository. Then a fresh
process gets the code object of every module of the newest commit, as an import does: from `.pyc`
files where there is a folder, from the code pack here, by compiling in `torch.package`. Only
codevault verifies what it reads. Disk space and inodes are what `du` says; compiled code apart.

Run from the repository's root:

    python -m benchmarks.storing [--repo PATH --roots src] [--commits 50] [--rounds 7]
"""

from __future__ import annotations

import argparse
import compileall
import hashlib
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

from benchmarks.import_snapshot import HERE, write_tree
from benchmarks.warm_load import MARK, MEMORY, between_marks, missing
from codevault.splint import compile_code
from codevault_cache import Cache, Wanted, publish, warm
from codevault_cache.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

ARMS: Final = ("codevault", "worktree", "control", "clone", "hub", "package")


def git(repo: str, *arguments: str) -> bytes:
    """What a git command prints."""
    identity = ["-c", "user.name=A", "-c", "user.email=a@b"]
    command = ["git", *identity, "-C", repo, *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


def generated(top: str, modules: int, commits: int) -> str:
    """A repository whose every commit changes one module of many."""
    write_tree(Path(top), modules)
    git(top, "init", "-q")
    for n in range(commits):
        file = Path(top, f"src/big/s{n % 10}/m{n % modules}.py")
        file.write_text(f"{file.read_text()}\nVERSION = {n}\n")
        git(top, "add", "-A")
        git(top, "commit", "-qm", str(n))
    return top


# -- each arm keeps one commit --------------------------------------------------------------------


def _codevault(repo: str, commit: str, roots: list[str], place: str) -> None:
    wanted = Wanted(repo, commit, roots=tuple(roots), shared=(), include=())
    warm(Cache.open(place), [wanted])


def _worktree(repo: str, commit: str, roots: list[str], place: str) -> None:
    folder = f"{place}/{commit}"
    git(repo, "worktree", "add", "-q", "--no-checkout", "--detach", folder, commit)
    git(folder, "checkout", "-q", commit, "--", *roots)


def _clone(repo: str, commit: str, roots: list[str], place: str) -> None:
    folder = f"{place}/{commit}"
    git(".", "clone", "-q", "--local", "--no-checkout", repo, folder)
    git(folder, "checkout", "-q", commit, "--", *roots)


def files(repo: str, commit: str, roots: list[str]) -> dict[str, bytes]:
    """The regular files of a commit below some folders."""
    listed = git(repo, "ls-tree", "-r", "-z", commit, "--", *roots).decode().split("\0")[:-1]
    rows = [(row.split()[2], row.partition("\t")[2]) for row in listed if row.startswith("100")]
    asked = "".join(f"{oid}\n" for oid, _ in rows).encode()
    command = ["git", "-C", repo, "cat-file", "--batch"]
    out = subprocess.run(command, input=asked, check=True, capture_output=True).stdout
    found, at = {}, 0
    for _, path in rows:
        end = out.index(b"\n", at)
        size = int(out[at:end].split()[2])
        found[path] = out[end + 1 : end + 1 + size]
        at = end + size + 2
    return found


def _hub(repo: str, commit: str, roots: list[str], place: str) -> None:
    os.makedirs(f"{place}/blobs", exist_ok=True)
    for path, content in files(repo, commit, roots).items():
        blob = f"{place}/blobs/{hashlib.sha256(content).hexdigest()}"
        if not os.path.exists(blob):
            Path(blob).write_bytes(content)
        link = f"{place}/{commit}/{path}"
        os.makedirs(os.path.dirname(link), exist_ok=True)
        os.symlink(blob, link)


def _package(repo: str, commit: str, roots: list[str], place: str) -> None:
    from torch.package.package_exporter import PackageExporter

    os.makedirs(place, exist_ok=True)
    with PackageExporter(f"{place}/{commit}.zip") as exporter:
        exporter.extern("**")
        for path, content in files(repo, commit, roots).items():
            folder, _, name = path.rpartition("/")
            if path.endswith(".py"):
                module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                text = content.decode()
                exporter.save_source_string(module, text, name == "__init__.py", False)
            else:
                exporter.save_binary("files." + folder.replace("/", ".").strip("."), name, content)


KEEP: Final[dict[str, Callable[[str, str, list[str], str], None]]] = {
    "codevault": _codevault,
    "worktree": _worktree,
    "control": _worktree,
    "clone": _clone,
    "hub": _hub,
    "package": _package,
}


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
    for root in roots:
        for where, folders, names in os.walk(f"{{place}}/{{commit}}/{{root}}"):
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
    publish.durable = False  # git and the others do not wait for the disk either
    with tempfile.TemporaryDirectory() as top:
        places = {arm: f"{top}/{arm}" for arm in ARMS}
        small = Path(top, "small")
        small.mkdir()
        (small / "small.py").write_text("import logging, math\n")
        report: dict[str, dict[str, Any]] = {arm: {} for arm in ARMS}
        for arm in ARMS:
            report[arm] = _kept(arm, repo, roots, commits, places[arm])
        try:
            _warm_hits(report, places, repo, roots, commits[-1], str(small), rounds)
        finally:
            for arm in ("worktree", "control"):
                for commit in commits:
                    git(repo, "worktree", "remove", "--force", f"{places[arm]}/{commit}")
            subprocess.run(["chmod", "-R", "u+w", places["codevault"]], check=True)
    return {"commits": len(commits), "rounds": rounds, "arms": report}


def _kept(arm: str, repo: str, roots: list[str], commits: list[str], place: str) -> dict[str, Any]:
    took = []
    first = 0
    for commit in commits:
        before = os.times()
        KEEP[arm](repo, commit, roots, place)
        after = os.times()
        took.append(sum(after[:4]) - sum(before[:4]))
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
        compileall.compile_dir(f"{place}/{commits[-1]}", quiet=2, maxlevels=60)
    compiled = (Usage(place).bytes - usage.bytes) / (len(commits) if arm == "codevault" else 1)
    return {**found, "compiled_mb_each": round(compiled / 1e6, 3)}


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
        program = _WARM.format(here=str(HERE), mark=MARK)
        given = [arm, places[arm], repo, commit, ",".join(roots), small]
        return [sys.executable, "-c", program, *given]

    took: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for n in range(rounds + 1):
        for arm in random.sample(ARMS, len(ARMS)):
            done = subprocess.run(command(arm), env=env, check=True, capture_output=True)
            modules, milliseconds = done.stdout.split()
            report[arm]["modules"] = int(modules)
            if n:  # the first one fills the page cache
                took[arm].append(float(milliseconds))
    for arm in ARMS:
        report[arm]["warm_cpu_ms"] = round(statistics.median(took[arm]), 1)
        if not missing():
            trace = Path(f"{places['codevault']}-trace")
            traced = ["strace", "-f", "-qq", "-o", str(trace), *command(arm)]
            subprocess.run(traced, env=env, check=True, capture_output=True)
            calls = between_marks(trace.read_text())
            report[arm]["opens"] = calls["openat"] + calls["open"]
            report[arm]["calls"] = calls.total() - sum(calls[name] for name in MEMORY)


def main() -> None:
    """Prints the figures of all arms as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--repo", help="a local repository; a generated one by default")
    parser.add_argument("--roots", nargs="+", default=["src"])
    parser.add_argument("--modules", type=int, default=200)
    parser.add_argument("--commits", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as top:
        if options.repo is None:
            repo = generated(top, options.modules, options.commits)
        else:  # a clone, since worktrees are registered in the repository
            repo = f"{top}/repo"
            git(".", "clone", "-q", "--bare", "--local", options.repo, repo)
        range_ = [f"--max-count={options.commits}", "--first-parent", "HEAD", "--", *options.roots]
        listed = git(repo, "rev-list", *range_).decode().split()
        begin = time.monotonic()
        report = compare(repo, options.roots, listed[::-1], options.rounds)
        print(json.dumps({**report, "seconds": round(time.monotonic() - begin)}, indent=2))


if __name__ == "__main__":
    main()
