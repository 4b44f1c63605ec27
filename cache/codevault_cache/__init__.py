"""A content-addressed store of trees that knows git and files, and nothing about imports.

A hit imports neither dulwich nor a network library; everything that only a miss needs is loaded
when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from codevault_cache import errors
from codevault_cache.cache import Cache
from codevault_cache.gitdir import find_worktree
from codevault_cache.overlay import Overlay, overlay_entries, overlay_from, overlay_of
from codevault_cache.snapshot import Snapshot, spec12
from codevault_cache.tree import Tree
from codevault_cache.wanted import Wanted
from codevault_cache.warm import warm

if TYPE_CHECKING:
    from codevault_cache.address import public_url
    from codevault_cache.inventory import Entry
    from codevault_cache.reachability import is_reachable
    from codevault_cache.signatures import is_signed
    from codevault_cache.unpushed import pack_of_commit
    from codevault_cache.verify import Report
    from codevault_cache.worktree import Captured, read_worktree

__all__ = [
    "Cache",
    "Captured",
    "Entry",
    "Overlay",
    "Report",
    "Snapshot",
    "Tree",
    "Wanted",
    "errors",
    "find_worktree",
    "is_reachable",
    "is_signed",
    "overlay_entries",
    "overlay_from",
    "overlay_of",
    "pack_of_commit",
    "public_url",
    "read_worktree",
    "spec12",
    "warm",
]

_LATER = {
    "Captured": "codevault_cache.worktree",
    "Entry": "codevault_cache.inventory",
    "Report": "codevault_cache.verify",
    "is_reachable": "codevault_cache.reachability",
    "is_signed": "codevault_cache.signatures",
    "pack_of_commit": "codevault_cache.unpushed",
    "public_url": "codevault_cache.address",
    "read_worktree": "codevault_cache.worktree",
}


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
