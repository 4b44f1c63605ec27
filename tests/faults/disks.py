"""Disks that are full, that have no inodes left, or that are read only: real ones, of memory.

Mounting needs rights: the cases run in a mount namespace of their own, or are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.faults import scenario
from tests.faults.tally import Tally
from tests.faults.traced import note

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARK = "CODEVAULT_FAULTS_DISKS"


def missing() -> str:
    """Why no disk can be mounted here; empty if one can."""
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    tried = subprocess.run(
        ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True
    )
    return "" if tried.returncode == 0 else "this user may not mount"


def faults(step: int = 1) -> Iterator[Tally]:
    """Run the cases in a namespace of their own, and pass on what they print."""
    why = missing()
    for name, cases in CASES.items():
        tally = Tally(f"tmpfs, {name}")
        tally.skipped = why
        if not why:
            for case in cases[::step]:
                one(tally, name, case)
        yield tally


CASES: dict[str, list[str]] = {
    "full": [f"size={kilobytes}k" for kilobytes in range(4, 120, 4)],
    "no inodes": [f"size=8m,nr_inodes={inodes}" for inodes in range(2, 40)],
    "read only": ["size=8m,ro"],
    "read only after publishing": ["size=8m"],
}


def one(tally: Tally, name: str, options: str) -> None:
    """One disk: an act on it, then room is made, then the judgement."""
    command = ["unshare", "-m", sys.executable, "-m", "tests.faults.disks", name, options]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, _MARK: "1"})
    kind, _, rest = done.stdout.strip().partition(" ")
    if done.returncode or kind not in ("seen", "bad"):
        tally.bad.append(f"{options}: {done.stdout} {done.stderr.strip()[-300:]}")
    elif kind == "bad":
        tally.bad.append(rest)
    else:
        tally.seen[rest] += 1


def _inside(name: str, options: str) -> None:
    top = "/mnt"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", top], check=True)
    cache = os.path.join(top, "cache")
    if name == "read only after publishing":
        scenario.perform(cache, "load")
        subprocess.run(["mount", "-o", "remount,ro", top], check=True)
    tally = Tally(name)
    code = scenario.perform(cache, "load")
    if name == "read only after publishing" and code != 0:
        tally.bad.append("a hit needs no write")
    subprocess.run(["mount", "-o", "remount,rw,size=64m,nr_inodes=10000", top], check=True)
    note(tally, cache, "load", code, options)
    print("bad " + tally.bad[0] if tally.bad else "seen " + next(iter(tally.seen)))


if __name__ == "__main__" and os.environ.get(_MARK):
    _inside(*sys.argv[1:])
