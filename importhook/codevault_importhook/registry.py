"""Which splints are mounted in this process; the one place that holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from codevault_importhook.naming import WIDTH

if TYPE_CHECKING:
    from codevault_importhook.mount import Mount

_mounts: dict[str, Mount] = {}
own_names: frozenset[str] = frozenset()
"""Top-level names that belong to any snapshot mounted so far: the quick test before a closer look.

Names of unloaded snapshots stay: their code may still run, and must not get the host's modules.
"""
_shared_names: frozenset[str] = frozenset()
unloaded: Final[set[str]] = set()
"""Splints that were taken out after their code had run; mounting one again takes it from here."""


def get(module: str) -> Mount | None:
    """The mount under which `module` (a splint's name, or a name below it) stands."""
    return _mounts.get(module[:WIDTH])


def add(mount: Mount) -> None:
    """Puts a mount in; the caller has checked that its name is free."""
    global own_names, _shared_names
    _mounts[mount.name] = mount
    unloaded.discard(mount.name)
    own_names |= mount.rules.own
    _shared_names |= mount.shared


def discard(name: str) -> None:
    """Takes a mount out; a name that is not there is no error."""
    global _shared_names
    _mounts.pop(name, None)
    _shared_names = frozenset().union(*(m.shared for m in mounts()))


def mounts() -> tuple[Mount, ...]:
    """All mounts, in the order in which they were made."""
    return tuple(_mounts.values())


def holding(filename: str) -> Mount | None:
    """The mount in whose tree a file lies: old code that was loaded by its path has any name."""
    return next((mount for mount in mounts() if mount.inner(filename) is not None), None)


def is_own(module: str) -> bool:
    """Whether some mounted snapshot has a module of this name of its own."""
    return module.partition(".")[0] in own_names and any(
        mount.rules.owns(module) and not mount.is_host(module) for mount in mounts()
    )


def is_shared(module: str) -> bool:
    """Whether some mounted snapshot shares `module` with the host."""
    return any(module == name or module.startswith(f"{name}.") for name in _shared_names)
