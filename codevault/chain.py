"""The rules files of a repository that a checkpoint still needs, in order."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING

from codevault.errors import RulesError
from codevault.stated import migrations_of, stated_of
from codevault_cache import find_worktree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec

    from codevault.evolve.rules import Rules
    from codevault.manifest import Manifest


def chain_of(top: str, known: tuple[str, ...] | None) -> tuple[Rules, ...]:
    """The rules files of a work tree that a checkpoint was saved without, in order of their names.

    Args:
        top: The work tree.
        known: The names that the checkpoint records; None takes all.

    Raises:
        RulesError: One cannot be read.
    """
    from codevault.evolve.rules import parse

    folder = stated_of(top).migrations or ""
    chain = []
    for name in migrations_of(top) or ():
        if name not in (known or ()):
            with open(os.path.join(top, folder, name), "rb") as file:
                chain.append(parse(file.read(), f"{folder}/{name}"))
    return tuple(chain)


def chain_for(
    paths: Sequence[str | os.PathLike[str]] | None, top: str | None, manifest: Manifest
) -> tuple[Rules, ...]:
    """The rules files that a caller names; else those of a work tree, if there is one.

    Raises:
        RulesError: One cannot be read.
    """
    from codevault.evolve.rules import parse

    if paths is None:
        return () if top is None else chain_of(top, manifest.migrations)
    chain = []
    for path in paths:
        try:
            with open(path, "rb") as file:
                chain.append(parse(file.read(), os.path.basename(path)))
        except OSError as error:
            raise RulesError(
                f"the rules file {os.fspath(path)} cannot be read",
                str(error),
                "codevault migrate URI --suggest rules.toml",
            ) from None
    return tuple(chain)


def chain_of_application(manifest: Manifest) -> tuple[Rules, ...]:
    """The rules files for a checkpoint in the work tree whose modules this process imports.

    Raises:
        RulesError: One cannot be read.
    """
    for place in _places({name.partition(".")[0] for name in manifest.modules}):
        top = find_worktree(place)
        if top is not None and stated_of(top).migrations is not None:
            return chain_of(top, manifest.migrations)
    return ()


def named_by(chain: Sequence[Rules]) -> list[str]:
    """The modules that rules name in the newer code; they are the application's own word."""
    calls = [
        call
        for rules in chain
        for call in (
            rules.architecture.call,
            rules.env.call,
            *(rule.subject[0] for rule in rules.rules if rule.verb == "call"),
        )
        if call is not None
    ]
    names = [new for rules in chain for new in rules.names.values()]
    return [name.partition(":")[0] for name in (*calls, *names)]


def _places(tops: set[str]) -> Iterator[str]:
    """Where modules of these names are; where none of them is, the folders that are imported from.

    The folder in which the process was started is not one of them, unless modules come from it.
    """
    found = [
        place
        for spec in map(_spec, sorted(tops))
        if spec is not None
        for place in (spec.origin, *(spec.submodule_search_locations or ()))
        if place is not None and os.path.exists(place)
    ]
    yield from found or (entry for entry in sys.path if entry and os.path.isdir(entry))


def _spec(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):  # __main__ may have none
        return None
