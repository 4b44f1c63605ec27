"""The error for a name that a snapshot does not have: what is near it, and the ways out."""

from __future__ import annotations

import difflib
import sys
from typing import TYPE_CHECKING

from codevault_importhook.naming import WIDTH, is_text

if TYPE_CHECKING:
    from codevault_importhook.mount import Mount


def missing(mount: Mount, fullname: str, *, from_list: bool) -> ModuleNotFoundError:
    """The error for a name that the snapshot does not have.

    `name` is the original name, as the old code's own `except` clauses expect it; only for a
    `from package import name` does the import system need to find its own spelling there.
    """
    original = fullname[WIDTH + 1 :]
    parent, _, leaf = original.rpartition(".")
    package = sys.modules.get(f"{mount.name}.{parent}" if parent else mount.name)
    # Files of the snapshot are not what the application would have to find.
    there = () if mount.is_host(original) else mount.names(*getattr(package, "__path__", ()))
    near = [f"{parent}.{n}" if parent else n for n in difflib.get_close_matches(leaf, there)]
    if mount.is_host(original):
        where = f"in the application, with which snapshot {mount.name} shares it"
    else:
        where = f"in snapshot {mount.name} (roots: {mount.shown_roots})"
    text = f"No module named {original!r} {where}"
    if not is_text(original):
        text += "; files whose names are no UTF-8 are loaded by their paths, or renamed"
    elif near:
        text += f"; near: {', '.join(near)}"
    elif parent and not mount.is_host(original):
        folder = next(filter(None, map(mount.folder, getattr(package, "__path__", ()))), "")
        stand_in = f"{folder}/{leaf}.py".lstrip("/")
        text += (
            f". If it is compiled or generated when {original.partition('.')[0]} is installed: "
            f"share it (shared=[{original!r}]), or lay a stand-in over the tree "
            f"(overlay={{{stand_in!r}: ...}})"
        )
    return ModuleNotFoundError(text, name=fullname if from_list else original)
