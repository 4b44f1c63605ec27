"""The rules files of a repository that a checkpoint still needs, in order."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING

from codevault.errors import RulesError
from codevault.projectconfig import rules_of
from codevault_cache import find_worktree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec

    from codevault.evolve.rules import Rules
    from codevault.manifest import Manifest
    from codevault.projectconfig import Migrations


def chain_of(there: Migrations | None, known: tuple[str, ...] | None) -> tuple[Rules, ...]:
    """The rules files of a repository that a checkpoint was saved without, in their order.

    Args:
        there: The repository's; None if it has none.
        known: The names that the checkpoint records; None takes all.

    Raises:
        RulesError: One is no rules file.
    """
    from codevault.evolve.rules import parse

    if there is None:
        return ()
    new = {name: data for name, data in there.files.items() if name not in (known or ())}
    return tuple(parse(data, f"{there.folder}/{name}") for name, data in new.items())


def chain_for(
    paths: Sequence[str | os.PathLike[str]] | None, there: Migrations | None, manifest: Manifest
) -> tuple[Rules, ...]:
    """The rules files that a caller names, each after those that it says; else a repository's.

    Raises:
        RulesError: One cannot be read, or comes after one that the repository does not have.
    """
    from codevault.evolve.rules import parse

    if paths is None:
        return chain_of(there, manifest.migrations)
    chain: dict[str, Rules] = {}
    for path in paths:
        try:
            with open(path, "rb") as file:
                rules = parse(file.read(), os.path.basename(path))
        except OSError as error:
            raise RulesError(
                f"the rules file {os.fspath(path)} cannot be read",
                str(error),
                "codevault migrate URI --suggest rules.toml",
            ) from None
        for each in (*_before(rules, there, manifest), rules):
            chain.setdefault(each.sha256, each)
    return tuple(chain.values())


def _before(rules: Rules, there: Migrations | None, manifest: Manifest) -> Iterator[Rules]:
    """The repository's rules files before a file, as far as the checkpoint lacks them."""
    from codevault.evolve.rules import parse

    for name in rules.after:
        if there is None or name not in there.files:
            raise RulesError(
                f"{rules.name} comes after {name}, which the newer code does not have",
                f"its rules files: {', '.join(there.files) if there else 'it states no folder'}",
                "codevault migrate URI --suggest new.toml  # from the checkpoint to that code",
            )
        if name not in (manifest.migrations or ()):
            yield parse(there.files[name], f"{there.folder}/{name}")


def chain_of_application(manifest: Manifest) -> tuple[Rules, ...]:
    """The rules files for a checkpoint in the work tree whose modules this process imports.

    Raises:
        RulesError: One cannot be read.
    """
    for place in _places({name.partition(".")[0] for name in manifest.modules}):
        top = find_worktree(place)
        there = None if top is None else rules_of(top)
        if there is not None:
            return chain_of(there, manifest.migrations)
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
