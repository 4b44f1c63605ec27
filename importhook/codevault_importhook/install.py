"""Mounts snapshots: the hook's entry point."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from codevault_importhook import cimports, pathhook, registry, stringimports
from codevault_importhook.finder import SplintFinder
from codevault_importhook.mount import Mount, normal_roots
from codevault_importhook.naming import is_splint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault_importhook.source import ModuleSource

_lock = threading.Lock()


def prepare() -> None:
    """Puts the hook in place; a second call changes nothing."""
    if not any(finder is SplintFinder for finder in sys.meta_path):
        sys.meta_path.insert(0, SplintFinder)
        sys.path_hooks.insert(0, pathhook.hook)
    stringimports.install()
    cimports.install()


def mount(
    name: str, source: ModuleSource, *, roots: Sequence[str], shared: Sequence[str] = ()
) -> Mount:
    """Makes the modules of a tree importable below `name`; the same tree twice is the same mount.

    Raises:
        ValueError: `name` is no splint name, or stands for another tree already.
    """
    if not is_splint(name):
        raise ValueError(f"no splint name: {name!r}")
    identity = (source.digest, normal_roots(roots), frozenset(shared))
    with _lock:
        known = registry.get(name)
        if known is not None:
            if known.identity != identity:
                raise ValueError(
                    f"{name} is mounted as {known.identity}, "
                    f"and cannot be mounted again as {identity}"
                )
            return known
        new = Mount(name, source, roots, shared)
        prepare()
        registry.add(new)
        for location in [p for p in sys.path_importer_cache if new.folder(p) is not None]:
            del sys.path_importer_cache[location]
        return new
