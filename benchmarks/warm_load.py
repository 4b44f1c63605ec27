"""Opens and system calls of a warm load: `codevault.load_code` and the import of every module.

strace counts what one process does between two marks, after it has loaded another snapshot: what
Python and third-party libraries need once in a process is not the load's. The budget holds for any
number of modules: 5 opens, 80 system calls. Calls by which Python's allocator gets memory are
counted apart: they grow with the code that stands in memory, however it got there.

Run from the repository's root:

    python -m benchmarks.warm_load [--quick] [--json FILE]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import result
from benchmarks.import_snapshot import HERE
from benchmarks.import_tree import write_tree

if TYPE_CHECKING:
    from argparse import Namespace

OPENS: Final = 5
CALLS: Final = 80
MARK: Final = "/codevault-benchmark-mark"
MEMORY: Final = ("brk", "mmap", "munmap", "madvise", "mprotect", "mremap")
_OPENING: Final = ("open", "openat", "openat2")
_CHILD: Final = """
import os, sys
sys.path[:0] = [{here!r}, {here!r} + "/importhook", {here!r} + "/cache"]
import codevault
small, big, head = sys.argv[1:]
codevault.load_code(small, None).import_module("small")
codevault.load_code(small, None).import_module("small")
os.path.lexists({mark!r})
splint = codevault.load_code(big, head)
splint.import_module("big.main")
os.path.lexists({mark!r})
print(len(splint.modules))
"""


def missing() -> str:
    """Why system calls cannot be counted here; empty if they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True)
    return "" if tried.returncode == 0 else "strace may not trace processes here"


def count(modules: int) -> dict[str, Any]:
    """What a warm load of so many modules asks of the system.

    It is of a second commit, whose code rests on the first one's: that takes one file more.

    Returns:
        Number of modules that were loaded, opens, system calls but for memory, and calls by name.
    """
    with tempfile.TemporaryDirectory() as top:
        big, small = Path(top, "big"), Path(top, "small")
        write_tree(big, modules)
        small.mkdir()
        (small / "small.py").write_text("import logging, math\n")
        git = ["git", "-c", "user.name=A", "-c", "user.email=a@b", "-C", str(big)]
        subprocess.run([*git, "init", "-q"], check=True)
        program = _CHILD.format(here=str(HERE), mark=MARK)
        commands = []
        for number in (1, 2):
            (big / f"src/big/note{number}.py").write_text(f"NUMBER = {number}\n")
            for verb in (["add", "-A"], ["commit", "-qm", str(number)]):
                subprocess.run([*git, *verb], check=True)
            done = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True)
            head = done.stdout.decode().strip()
            commands.append([sys.executable, "-c", program, str(small), str(big), head])
        places = {
            "CODEVAULT_CACHE": "cache",
            "XDG_STATE_HOME": "state",
            "XDG_CONFIG_HOME": "config",
        }
        env = {**os.environ, **{name: str(Path(top, place)) for name, place in places.items()}}
        for command in commands:
            subprocess.run(command, env=env, check=True, capture_output=True)
        trace = Path(top, "trace")
        traced = ["strace", "-f", "-qq", "-o", str(trace), *command]
        done = subprocess.run(traced, env=env, check=True, capture_output=True)
        calls = between_marks(trace.read_text())
        memory = sum(calls[name] for name in MEMORY)
    return {
        "modules": int(done.stdout),
        "opens": sum(calls[name] for name in _OPENING),
        "calls": calls.total() - memory,
        "memory_calls": memory,
        "by_name": dict(calls.most_common()),
    }


def between_marks(trace: str) -> Counter[str]:
    calls: Counter[str] = Counter()
    inside = False
    for line in trace.splitlines():
        call = line.partition(" ")[2].lstrip()
        if MARK in line:
            inside = not inside
        elif inside and not call.startswith(("+++", "---", "<...")):
            calls[call.partition("(")[0]] += 1
    return calls


def measure(options: Namespace) -> dict[str, Any]:
    if missing():
        return {"no_verdict": missing(), "rows": []}
    return {"rows": [count(modules) for modules in ((10, 60) if options.quick else (50, 200, 500))]}


def main() -> int:
    figures = result.command(result.parser("warm_load"), measure)
    return int(any(row["opens"] > OPENS or row["calls"] > CALLS for row in figures["rows"]))


if __name__ == "__main__":
    sys.exit(main())
