"""Which packs are in use: a reader's open pack carries a shared lock until its process ends.

Collection asks for the exclusive one and leaves alone what it does not get. Where locks do nothing,
only the age of the last use protects a reader's laid-out files; what it imports comes from its open
file either way.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRIES = 40
_PAUSE = 0.025


def mark(fd: int) -> None:
    """Mark an open pack as in use; a collection that holds it right now is waited for, a second.

    Args:
        fd: The open pack; the mark goes with it, and with copies that a fork makes.
    """
    for _ in range(_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        except OSError:
            return  # no locks here: they only save work
        else:
            return


@contextlib.contextmanager
def claimed(path: str | None) -> Iterator[bool]:
    """Tell whether nobody uses a pack, and keep it so inside the block.

    Args:
        path: The pack; None for what has none.

    Yields:
        False where a process has it open.
    """
    fd = -1
    free = True
    if path is not None:
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                free = False
    try:
        yield free
    finally:
        if fd >= 0:
            os.close(fd)
