"""Faults at every call of an act into `os`, by a shim: where strace is missing, and much faster.

Each case runs in a forked process, so that a killed writer is really gone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codevault_cache import Cache, collect
from tests.faults import scenario
from tests.faults.tally import Tally
from tests.faults.traced import ERRORS, SCRATCH, note
from tests.forks import fork

if TYPE_CHECKING:
    from collections.abc import Callable

# A failing close is an error of another kind: the descriptor is gone either way.
NAMES = (
    "open", "read", "write", "pread", "fsync", "fstat", "stat", "lstat", "fchmod",
    "chmod", "link", "unlink", "rename", "replace", "mkdir", "rmdir", "scandir", "listdir", "utime",
)  # fmt: skip


def _no_locks() -> None:
    fcntl.flock = lambda *_: None


def _broken_locks() -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    fcntl.flock = refuse


def _no_links() -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links")

    os.link = refuse


def _clock(now: float) -> Callable[[], None]:
    def jump() -> None:
        time.time = lambda: now

    return jump


ARMS: dict[str, Callable[[], None]] = {
    "plain": lambda: None,
    "locks succeed for everybody": _no_locks,
    "locks fail": _broken_locks,
    "no hard links": _no_links,
    "clock in 1970": _clock(10.0),
    "clock in 2100": _clock(4.1e9),
}


def _shimmed(at: int, strike: Callable[[], None]) -> Callable[[], int]:
    """Count calls into `os`, and strike at one of them; gives the counter."""
    left = [0]

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            left[0] += 1
            if left[0] == at:
                strike()
            return real(*args, **kwargs)

        return call

    for name in NAMES:
        setattr(os, name, wrap(getattr(os, name)))
    return lambda: left[0]


def _fork(cache: str, act: str, arm: str, at: int, strike: Callable[[], None]) -> int:
    """Start an act that is struck at its call number `at`; gives the process."""
    pid = fork()
    if pid:
        return pid
    code = 1
    try:
        os.dup2(os.open(f"{cache}.said", os.O_WRONLY | os.O_CREAT), 2)
        ARMS[arm]()
        count = _shimmed(at, strike)
        code = scenario.perform(cache, act)
        if at == 0:
            with open(f"{cache}.count", "w") as file:
                file.write(str(count()))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _calls(act: str, arm: str) -> int:
    """How many calls an act makes when nothing fails."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as top:
        cache = os.path.join(top, "cache")
        scenario.prepare(cache, act)
        _, status = os.waitpid(_fork(cache, act, arm, 0, lambda: None), 0)
        if os.waitstatus_to_exitcode(status):
            raise AssertionError(f"{act} fails by itself ({arm})")
        with open(f"{cache}.count") as file:
            return int(file.read())


def _strikes() -> list[tuple[str, Callable[[], None]]]:
    def failing(name: str) -> Callable[[], None]:
        def fail() -> None:
            raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

        return fail

    kill = ("KILL", lambda: os.kill(os.getpid(), signal.SIGKILL))
    return [kill, *((name, failing(name)) for name in ERRORS)]


def _note(tally: Tally, cache: str, act: str, status: int, what: str) -> None:
    said = Path(f"{cache}.said")
    note(tally, cache, act, os.waitstatus_to_exitcode(status), what, said.read_text())
    said.unlink()


def faults(act: str, arm: str, step: int = 1) -> Tally:
    """Kill, and every error, at every call of an act."""
    tally = Tally(f"shim, every call of {act}, {arm}")
    cases = [(at, *strike) for at in range(1, _calls(act, arm) + 1) for strike in _strikes()]
    with tempfile.TemporaryDirectory(dir=SCRATCH) as top:
        for i, (at, name, strike) in enumerate(cases[::step]):
            cache = os.path.join(top, str(i))
            scenario.prepare(cache, act)
            _, status = os.waitpid(_fork(cache, act, arm, at, strike), 0)
            _note(tally, cache, act, status, f"{name} at call {at}")
            shutil.rmtree(cache, ignore_errors=True)
    return tally


def stopped(act: str, step: int = 1) -> Tally:
    """An act that is stopped at every call while everything that may go is collected."""
    tally = Tally(f"stopped at every call of {act} while gc runs")
    with tempfile.TemporaryDirectory(dir=SCRATCH) as top:
        for at in range(1, _calls(act, "plain") + 1, step):
            cache = os.path.join(top, str(at))
            scenario.prepare(cache, act)
            pid = _fork(cache, act, "plain", at, lambda: os.kill(os.getpid(), signal.SIGSTOP))
            os.waitpid(pid, os.WUNTRACED)
            collect.collect(collect.plan(Cache.open(cache), 0, 0.0))
            os.kill(pid, signal.SIGCONT)
            _, status = os.waitpid(pid, 0)
            _note(tally, cache, act, status, f"stopped at call {at}")
            shutil.rmtree(cache, ignore_errors=True)
    return tally
