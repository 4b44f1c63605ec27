"""Processes that all do something at the same moment."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def fork() -> int:
    """`os.fork`, where a test runner's own threads are no news."""
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def at_once(acts: Sequence[Callable[[], None]]) -> list[str]:
    """Run each act in a process of its own, all from the same moment on; gives their errors."""
    go, start = os.pipe()
    running: dict[int, int] = {}
    for act in acts:
        said, say = os.pipe()
        pid = fork()
        if pid == 0:
            code = 1
            try:
                os.close(start)
                os.read(go, 1)  # ends when the parent closes the other end
                act()
                code = 0
            except BaseException:
                os.write(say, traceback.format_exc()[-3000:].encode())
            finally:
                os._exit(code)
        os.close(say)
        running[pid] = said
    os.close(go)
    os.close(start)
    errors = []
    for pid, said in running.items():
        _, status = os.waitpid(pid, 0)
        with open(said, "rb") as pipe:
            text = pipe.read().decode()
        if status:
            errors.append(f"{os.waitstatus_to_exitcode(status)}: {text}")
    return errors
