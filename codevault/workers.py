"""How a worker process finds a splint by its name: what the wheel's start-up file asks.

A worker reads the cache that its parent mounted from, never fetches, and never widens trust:
without a record of this user's own, nothing is mounted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codevault_importhook.naming import WIDTH, is_splint

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec


def find_spec(name: str) -> ModuleSpec | None:
    """Mounts the splint that `name` belongs to, from this user's record of it.

    Raises:
        ModuleNotFoundError: The record or the snapshot is missing here, or was unloaded; says what
            helps.
    """
    splint = name[:WIDTH]
    if not is_splint(splint) or (len(name) > WIDTH and name[WIDTH] != "."):
        return None
    from codevault_importhook import registry
    from codevault_importhook.finder import SplintFinder

    if splint in registry.unloaded:
        raise ModuleNotFoundError(
            f"{splint} is not mounted: it was unloaded in this process; load it again with "
            "codevault.load_policy(...) or codevault.load_code(...)",
            name=splint,
        )
    if registry.get(splint) is None:
        _mount(splint)
    return SplintFinder.find_spec(name)


def _mount(splint: str) -> None:
    from codevault import mountrecords
    from codevault.errors import CodeError
    from codevault.splint import mount

    try:
        known = mountrecords.recall(splint)
        if known is not None:
            mount(*known)
            return
    except (CodeError, OSError, ValueError) as error:
        raise ModuleNotFoundError(
            f"{splint} is not in this machine's cache any more: load its checkpoint here once "
            f"with codevault.load_policy(...), or run codevault prefetch ({error})",
            name=splint,
        ) from error
    raise ModuleNotFoundError(
        f"{splint} is code of a codevault snapshot that this user has not mounted on this "
        "machine: load its checkpoint here once with codevault.load_policy(...)",
        name=splint,
    )
