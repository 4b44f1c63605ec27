"""What the environment says about the cache: the only module that reads it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

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
            from platformdirs import user_cache_path

            paths = [user_cache_path("codevault")]
    elif isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    roots = [os.path.abspath(os.path.expanduser(os.fspath(path))) for path in paths]
    return tuple(dict.fromkeys(roots))


def offline() -> bool:
    """Tell whether the network is forbidden: CODEVAULT_OFFLINE is set to anything but 0."""
    return os.environ.get("CODEVAULT_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")
