"""What runs while something fails, and what must hold afterwards.

Run as a program it does one act between two marks that a trace can find:

    python -I -S -B scenario.py FOLDER ACT
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "cache"))

from codevault_cache import Cache, Snapshot, Wanted, collect, paths, pins
from codevault_cache import derived as _derived  # noqa: F401 - nothing is imported between the marks
from codevault_cache import folders as _folders  # noqa: F401
from codevault_cache import packing as _put  # noqa: F401
from codevault_cache.errors import CacheError
from codevault_cache.removal import DAY, HOUR, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REFUSED = 3
"""Exit code of an act that failed with one of the cache's own errors."""

Files = dict[str, tuple[int, bytes]]


def files_of(number: int) -> Files:
    return {
        "a.py": (0o100644, b"x = %d\n" % number),
        "pkg/__init__.py": (0o100644, b""),
        "pkg/tool.sh": (0o100755, b"#!/bin/sh\n"),
        "pkg/data.bin": (0o100644, bytes(range(256)) * 40),
    }


def code_of(number: int) -> bytes:
    return b"code %d" % number * 100


def wanted_of(number: int) -> Wanted:
    return Wanted(None, f"{number:02x}" * 20, roots=(".",), shared=())


def load(cache: Cache, number: int) -> None:
    """What a load does with the cache: look, publish on a miss, read and verify everything."""
    files, wanted = files_of(number), wanted_of(number)
    found = cache.find(wanted)
    if found is None:
        digest = cache.publish(files)
        found = Snapshot(wanted.commit, (".",), (), (), None, digest)
        cache.record(found, wanted)
    tree = cache.tree(found.digest)
    try:
        read = {path: (tree.mode(path), tree.read(path)) for path in tree.paths}
        code = cache.derived(found.digest, "cp", lambda: code_of(number))
        if (read, code) != (files, code_of(number)):
            raise AssertionError("a load gave wrong bytes")
    finally:
        tree.close()


def tidy(cache: Cache) -> None:
    """What a collection does: the old one of two snapshots goes, the pinned one stays."""
    collect.collect(collect.plan(cache, None, 0.0))


ACTS: Mapping[str, Callable[[Cache], None]] = {
    "load": lambda cache: load(cache, 1),
    "further": lambda cache: load(cache, 1),  # beside another version, whose files it links
    "tidy": tidy,
}


def prepare(folder: str, act: str) -> None:
    """Make the cache that an act begins with."""
    if act == "load":
        return
    cache = Cache.open(folder)
    if act == "further":
        load(cache, 2)
        return
    for number in (1, 2):
        load(cache, number)
        age(cache, number, 100 * DAY)
    found = cache.find(wanted_of(2))
    assert found is not None
    pins.pin(cache, found.name)


def age(cache: Cache, number: int, seconds: float) -> None:
    found = cache.find(wanted_of(number))
    assert found is not None
    then = time.time() - seconds
    os.utime(paths.pack(cache.roots[0], found.digest), (then, then))


def perform(folder: str, act: str) -> int:
    """Do an act; its errors become exit codes, all others tracebacks."""
    try:
        ACTS[act](Cache.open(folder.split(os.pathsep)))
    except CacheError as error:
        print(error, file=sys.stderr)
        return REFUSED
    return 0


def state(folder: str, number: int) -> str:
    """Look as a reader does: "hit" or "miss"; anything else raises."""
    cache = Cache.open(folder)
    found = cache.find(wanted_of(number))
    if found is None:
        return "miss"
    load(cache, number)
    tree = cache.tree(found.digest)
    for path, (_, content) in files_of(number).items():
        if Path(tree.location(path)).read_bytes() != content:
            raise AssertionError(f"the laid-out {path} is wrong")
    tree.close()
    return "hit"


def judge(folder: str, act: str, code: int) -> str:
    """Check the cache after an act that was disturbed, and do it again.

    Args:
        folder: The cache.
        act: The act.
        code: How the process ended: 0, REFUSED, or minus a signal.

    Returns:
        What a reader saw: "hit" or "miss".

    Raises:
        AssertionError: Something is wrong that must never be.
    """
    tag = Path(folder, "CACHEDIR.TAG")
    if tag.exists() and not tag.read_bytes().endswith(b"# A cache of codevault.\n"):
        raise AssertionError("the mark of a cache is cut short")
    before = Cache.open(folder).verify()
    if not before.ok:
        raise AssertionError(f"a reader would meet {before.bad}")
    seen = state(folder, 1)
    if code == 0 and act != "tidy" and seen != "hit":
        raise AssertionError("the failure was silent: the act ended well, and nothing is there")
    if act != "load" and state(folder, 2) != "hit":
        raise AssertionError("the other snapshot is gone")
    for again in ("load", act):
        ACTS[again](Cache.open(folder))
    if state(folder, 1) != "hit" and act != "tidy":
        raise AssertionError("the next run did not work")
    after = Cache.open(folder).verify()
    if not after.ok:
        raise AssertionError(f"after the next run: {after.bad}")
    _leave_nothing(folder)
    return seen


def _leave_nothing(folder: str) -> None:
    """What was left behind is swept once it is old."""
    tmp = paths.tmp(folder)
    if not os.path.isdir(tmp):
        return
    for name in os.listdir(tmp):
        os.utime(os.path.join(tmp, name), (time.time() - 25 * HOUR,) * 2, follow_symlinks=False)
    sweep(tmp)
    if os.listdir(tmp):
        raise AssertionError(f"left in tmp: {os.listdir(tmp)}")


MARK = "/codevault-faults-mark"
"""A path that does not exist: a look at it marks a place in a trace."""


if __name__ == "__main__":
    os.path.lexists(MARK)
    done = perform(*sys.argv[1:])
    os.path.lexists(MARK)
    os._exit(done)
