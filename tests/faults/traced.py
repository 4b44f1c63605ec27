"""Faults at every system call of an act, injected by strace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults import scenario
from tests.faults.tally import Tally

ERRORS = ("ENOSPC", "EIO", "EROFS", "EDQUOT", "EACCES", "EMFILE", "ESTALE")
SCRATCH = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where the caches are: thousands of them wait for no disk."""

PROGRAM = [sys.executable, "-I", "-S", "-B", str(Path(scenario.__file__))]
_OTHERS = ("mmap", "ioctl", "lseek", "fcntl")
"""Calls with a descriptor that Python itself makes: their failure says nothing of the cache."""


def missing() -> str:
    """Why strace cannot be used here; empty if it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True)
    return "" if tried.returncode == 0 else "strace may not trace processes here"


def window(act: str) -> list[tuple[str, int]]:
    """The system calls of an act: name, and which one of that name of the whole process it is."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as top:
        cache, trace = os.path.join(top, "cache"), os.path.join(top, "trace")
        scenario.prepare(cache, act)
        command = ["strace", "-qq", "-o", trace, "-e", "trace=%file,%desc", *PROGRAM, cache, act]
        subprocess.run(command, check=True)
        counts: Counter[str] = Counter()
        calls, inside = [], False
        for line in Path(trace).read_text().splitlines():
            name = line.partition("(")[0]
            counts[name] += 1
            if scenario.MARK in line:
                inside = not inside
            elif inside and name not in _OTHERS:
                if ".py" in line and "__init__.py" not in line and "a.py" not in line:
                    raise AssertionError(f"an import between the marks: {line}")
                calls.append((name, counts[name]))
    return calls


def faults(act: str, step: int = 1) -> Tally:
    """Kill, and every error, at every call of an act (at every `step`th combination)."""
    tally = Tally(f"strace, every call of {act}")
    tally.skipped = missing()
    if tally.skipped:
        return tally
    kinds = ["signal=KILL", *(f"error={name}" for name in ERRORS)]
    cases = [(*call, kind) for call in window(act) for kind in kinds]
    # A failing close is an error of another kind: the descriptor is gone either way.
    cases = [case for case in cases if case[0] != "close" or case[2] == "signal=KILL"]
    with tempfile.TemporaryDirectory(dir=SCRATCH) as top:
        for i, (name, number, kind) in enumerate(cases[::step]):
            cache = os.path.join(top, str(i))
            scenario.prepare(cache, act)
            inject = f"inject={name}:{kind}:when={number}"
            command = ["strace", "-qq", "-o", os.devnull, "-e", f"trace={name}", "-e", inject]
            done = subprocess.run([*command, *PROGRAM, cache, act], capture_output=True, text=True)
            note(tally, cache, act, done.returncode, f"{kind} at {name} {number}", done.stderr)
            shutil.rmtree(cache, ignore_errors=True)
    return tally


def note(tally: Tally, cache: str, act: str, code: int, what: str, stderr: str = "") -> None:
    """Judge one case, and count it."""
    ended = {0: "done", scenario.REFUSED: "refused"}.get(code, "killed")
    if code > 0 and code != scenario.REFUSED and code != 137:
        tally.bad.append(f"{what}: a bare error: {stderr.strip()[-300:]}")
        return
    try:
        seen = scenario.judge(cache, act, code)
    except Exception as error:
        tally.bad.append(f"{what} ({ended}): {type(error).__name__}: {error}")
        return
    tally.seen[f"{ended} and {seen}"] += 1
