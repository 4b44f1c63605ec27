"""Of many processes that lack the same thing, one gets it, and the others wait for it.

A claim is a file that stands while somebody works, and that he touches all the while. Nothing but
waiting hangs on it: whoever finds it gone, dead or still, or can make none, does the work himself.
Doubled work is correct: entries are published once, whoever makes them.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

from codevault_cache import environ, limits, paths
from codevault_cache.atomicwrite import NEW
from codevault_cache.removal import may_run, tmp_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

BEAT_SECONDS = 2.0
"""Pause between two touches of a claim."""

STILL_SECONDS = 15.0
"""A claim that was not touched for so long, by the clock of the one who waits, is dead."""

_LOOK_SECONDS = 0.05


def once(
    root: str,
    keys: Sequence[str],
    there: Callable[[str], bool],
    get: Callable[[Sequence[str]], None],
) -> None:
    """Get what is missing, or wait until another process has got it.

    Args:
        root: The cache's folder in which they meet.
        keys: What is wanted: hex digests.
        there: Tells whether one of them is there now.
        get: Gets some of them. Its errors are passed on; what it does not get, and raises no error
            for, is not asked for again.
    """
    # In one order everywhere: whoever gets the first claim gets all that others have not begun.
    missing = sorted(key for key in keys if not there(key))
    if missing and environ.offline():  # what is near is read, and all else fails at once
        get(missing)
        return
    patience = time.monotonic() + limits.FETCH_SECONDS
    dead = None
    while missing:
        with _claimed(root, missing, dead) as mine:
            # Another may have got them between the look and the claim.
            if lacking := [key for key in mine if not there(key)]:
                get(lacking)
        if mine:
            missing = missing[len(mine) :]
        elif (dead := _ended(root, missing[0], patience)) is None and not there(missing[0]):
            get(missing)  # he failed, or is too slow
            return
        missing = [key for key in missing if not there(key)]


@contextlib.contextmanager
def _claimed(root: str, keys: Sequence[str], dead: bytes | None) -> Iterator[Sequence[str]]:
    """Claim keys up to the first that is another's; all of them where no claim can be made."""
    held: dict[str, os.stat_result] = {}  # not open: there may be more than files may be open
    owner = tmp_name(paths.tmp(root))
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(held, stop), daemon=True)
    mine = len(keys)
    try:
        try:
            for place, key in enumerate(keys):
                path = paths.claim(root, key)
                made = _take(path, owner, dead)
                if made is None:
                    mine = place
                    break
                held[path] = made
        except OSError:
            pass  # no claims here: they only save work
        if held:
            beat.start()
        yield keys[:mine]
    finally:
        stop.set()
        if beat.ident is not None:
            beat.join()
        for path, made in held.items():
            with contextlib.suppress(OSError):
                if os.path.samestat(os.lstat(path), made):
                    os.unlink(path)


def _take(path: str, owner: str, dead: bytes | None) -> os.stat_result | None:
    """Make a claim; None where another process has made it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    made = path
    try:
        fd = os.open(path, NEW, 0o644)
    except FileExistsError:
        if dead is None or _owner(path)[0] != dead:
            return None
        made = owner
        fd = os.open(owner, NEW, 0o644)
    try:
        if made != path:
            os.replace(made, path)  # in one step: nobody must find none here
        with contextlib.suppress(OSError):  # without a name it is a claim as well
            os.write(fd, os.path.basename(owner).encode())
        return os.fstat(fd)
    finally:
        os.close(fd)


def _owner(path: str) -> tuple[bytes, int]:
    """Who made a claim, and when he touched it last; nobody where there is none."""
    try:
        # Opened, not only looked at: so network file systems ask the server.
        with open(path, "rb") as file:
            return file.read(200), os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return b"", -1


def _beat(held: Mapping[str, os.stat_result], stop: threading.Event) -> None:
    while not stop.wait(BEAT_SECONDS):
        for path, made in held.items():
            with contextlib.suppress(OSError):
                if os.path.samestat(os.lstat(path), made):
                    os.utime(path)


def _ended(root: str, key: str, patience: float) -> bytes | None:
    """Wait until a claim is gone, or patience is; the owner of one that is a dead process's."""
    path = paths.claim(root, key)
    seen, since = _owner(path), time.monotonic()
    while seen[1] >= 0 and time.monotonic() < patience:
        still = time.monotonic() - since > STILL_SECONDS
        if still or not may_run(seen[0].decode("ascii", "replace")):
            return seen[0]
        time.sleep(_LOOK_SECONDS)
        now = _owner(path)
        if now != seen:
            seen, since = now, time.monotonic()
    return None
