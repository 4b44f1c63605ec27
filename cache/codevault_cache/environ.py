"""What the environment says about the cache.

What it says about servers is git's business, and read in `gitconfig` and `credentials`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from codevault_cache.errors import Unwritable

if TYPE_CHECKING:
    from collections.abc import Sequence


def cache_roots(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None,
) -> tuple[str, ...]:
    """Find the folders of the cache.

    Args:
        paths: What the caller names; None asks CODEVAULT_CACHE, then the platform.

    Returns:
        Absolute folders: the first is written, the rest are read only.
    """
    if paths is None:
        stated = os.environ.get("CODEVAULT_CACHE", "")
        paths = [path for path in stated.split(os.pathsep) if path]
        if not paths:
            paths = _default_roots()
    elif isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    roots = [os.path.abspath(os.path.expanduser(os.fspath(path))) for path in paths]
    return tuple(dict.fromkeys(roots))


def _default_roots() -> list[str]:
    """The platform's place for caches; where this user cannot write it, a temporary one before it.

    Containers run as users without a name, or with a home that is not theirs.
    """
    from platformdirs import user_cache_dir

    try:
        usual = user_cache_dir("codevault")
    except RuntimeError:
        usual = "~"  # there is no home
    if os.path.isabs(usual):
        there = usual
        while not os.path.exists(there):
            there = os.path.dirname(there)
        if os.access(there, os.W_OK | os.X_OK):
            return [usual]
    import tempfile

    temporary = os.path.join(tempfile.gettempdir(), f"codevault-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(temporary, 0o700)
    status = os.lstat(temporary)
    if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        # Somebody else's records would decide which code runs.
        raise Unwritable(
            "There is no place for a cache.",
            f"{usual} cannot be written, and {temporary} can be written by others.",
            "CODEVAULT_CACHE=/a/folder/of/yours",
        )
    folder = os.path.join(temporary, "cache")
    return [folder, usual] if os.path.isdir(usual) else [folder]


def offline() -> bool:
    """Tell whether the network is forbidden: CODEVAULT_OFFLINE is set to anything but 0."""
    return os.environ.get("CODEVAULT_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def mirror() -> str | None:
    """The folder that snapshots are taken from before their repository is asked, or None."""
    return os.environ.get("CODEVAULT_MIRROR", "").strip() or None
