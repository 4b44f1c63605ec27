"""Processes without a home, with a user id that nobody knows, with folders that are not theirs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from codevault_cache.environ import cache_roots
from tests.faults import scenario
from tests.faults.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOBODY = 54321
_PROGRAM = """
import sys
sys.path[:0] = sys.argv[1:3]
from tests.faults import people
people.inside()
"""


def faults() -> Iterator[Tally]:
    """Each kind of person loads twice: the first load publishes, the second one hits."""
    for name, home in (
        ("no HOME, a user id without a name", None),
        ("HOME=/, a user id without a name", "/"),
        ("HOME that is missing, a user id without a name", "/nonexistent/home"),
    ):
        tally = Tally(name)
        if os.geteuid() != 0:
            tally.skipped = "only root can become somebody else"
        else:
            _one(tally, home)
        yield tally


def _one(tally: Tally, home: str | None) -> None:
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as tmp:
        os.chmod(tmp, 0o1777)
        env = {"TMPDIR": tmp, "PATH": os.environ["PATH"]}
        if home is not None:
            env["HOME"] = home
        for expected in ("miss", "hit"):
            command = [sys.executable, "-c", _PROGRAM, here, os.path.join(here, "cache")]
            done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=tmp)
            if done.stdout.strip() == expected:
                tally.seen[f"{expected}, then done"] += 1
            else:
                tally.bad.append(f"{expected}: {done.stdout} {done.stderr.strip()[-300:]}")


def inside() -> None:
    """Become nobody, and load once in nobody's default cache."""
    cache_roots(None)
    with tempfile.TemporaryDirectory() as top:  # nobody may be unable to read the libraries
        scenario.perform(os.path.join(top, "cache"), "load")
    os.setgroups([])
    os.setgid(_NOBODY)
    os.setuid(_NOBODY)
    (root,) = cache_roots(None)
    if not os.path.isabs(root) or root.startswith(os.getcwd() + "/~"):
        raise AssertionError(root)
    seen = scenario.state(root, 1)
    if scenario.perform(root, "load") != 0:
        raise AssertionError("refused")
    print(seen)
