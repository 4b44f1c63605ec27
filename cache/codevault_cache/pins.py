"""Pins: splint names that are never collected and never removed, until they are unpinned."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from typing import TYPE_CHECKING

from codevault_cache import paths
from codevault_cache.collect import items_of, remove
from codevault_cache.errors import Held, Missing, UnsafeName, Unwritable
from codevault_cache.holdings import holdings, names_in, pinned, read_record
from codevault_cache.removal import discard
from codevault_cache.usage import allocated

if TYPE_CHECKING:
    from codevault_cache.cache import Cache


_GROUP = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check_group(group: str) -> str:
    """Pass a name through that a group of pins may have.

    Raises:
        UnsafeName: It may not have it.
    """
    if _GROUP.fullmatch(group):
        return group
    raise UnsafeName(
        f"{ascii(group)[:100]} cannot be the name of a group of pins.",
        "Names have up to 64 lower-case letters, digits, dots, dashes and underscores.",
        "codevault prefetch --pin nightly-eval CHECKPOINT",
    )


def pin(cache: Cache, name: str, group: str = "") -> None:
    """Keep a snapshot, whatever is collected.

    Args:
        cache: Where it is.
        name: Its splint name.
        group: A name under which several are let go together; "" pins it by itself.

    Raises:
        UnsafeName: No group may have that name.
        Missing: The cache does not hold it.
        Unwritable: The first folder cannot be written.
    """
    snapshot = cache.snapshot(name)
    if snapshot is None or not cache.has(snapshot.digest):
        raise Missing(
            f"The cache does not hold {name}.",
            "Only what is there can be kept.",
            "codevault cache ls",
        )
    path = paths.pin(cache.roots[0], snapshot.name, group and check_group(group))
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with contextlib.suppress(FileExistsError), open(path, "xb"):
            pass
    except OSError as error:
        raise Unwritable(f"{name} cannot be pinned.", str(error), "codevault cache dir") from None


def unpin(cache: Cache, name: str) -> None:
    """Let a snapshot be collected again.

    Raises:
        Missing: It is not pinned.
        Unwritable: The first folder cannot be written.
    """
    try:
        os.unlink(paths.pin(cache.roots[0], name))
    except FileNotFoundError:
        why = "It may be one of a group." if name in pinned(cache.roots) else ""
        raise Missing(f"{name} is not pinned by itself.", why, "codevault cache ls") from None
    except OSError as error:
        raise Unwritable(f"{name} cannot be unpinned.", str(error), "codevault cache dir") from None


def groups(cache: Cache) -> frozenset[str]:
    """The names under which several snapshots of the first folder are pinned."""
    top = paths.pin(cache.roots[0], "")
    return frozenset(n for n in names_in(top) if _GROUP.fullmatch(n) and names_in(top + n))


def unpin_group(cache: Cache, group: str) -> int:
    """Let the snapshots of a group be collected again, unless something else pins them.

    Returns:
        How many there were.

    Raises:
        UnsafeName: No group may have that name.
    """
    folder = paths.pin(cache.roots[0], "", check_group(group))
    names = names_in(folder)
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, name))
    with contextlib.suppress(OSError):  # somebody pins more at this moment
        os.rmdir(folder)
    return len(names)


def rm(cache: Cache, name: str) -> int:
    """Remove a snapshot from the first folder; its files go unless another name has the same.

    Returns:
        The bytes that came free, as `du` counts them.

    Raises:
        Missing: The first folder does not hold it.
        Held: It is pinned, or a running process uses it.
    """
    root = cache.roots[0]
    held = next((h for h in holdings(root) if name in [s.name for s in h.snapshots]), None)
    if held is None:
        raise Missing(f"{root} does not hold {name}.", "", "codevault cache ls")
    if name in pinned(cache.roots):
        raise Held(f"{name} is pinned.", "", f"codevault cache unpin {shlex.quote(name)}")
    before = allocated([root])
    if len(held.snapshots) == 1:
        item = next(item for item in items_of(cache) if item.name == name)
        if not remove(cache, item):
            raise Held(
                f"{name} cannot be removed now.",
                "A running process uses it, or a file of it cannot be removed.",
                "end the processes that loaded it, and try again",
            )
    else:
        for record in held.records:
            found = read_record(record)
            if found is not None and found.name == name:
                discard(record, paths.tmp(root))
    return before - allocated([root])
