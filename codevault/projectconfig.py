"""What `[tool.codevault]` of a repository says, and the rules files that it names."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault.checkpointcode import warm
from codevault.errors import CodevaultError, RulesError, UsageError
from codevault_cache import Wanted
from codevault_importhook.naming import is_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from codevault.splint import Splint
    from codevault_cache import Cache, Tree
    from codevault_cache.selection import Stated

_PYPROJECT = "pyproject.toml"
_LISTS = ("roots", "shared", "include", "policies")
_TEXTS = ("contract", "migrations")


@dataclass(frozen=True, slots=True)
class Migrations:
    """The rules files of a repository.

    Attributes:
        folder: Where they lie in it.
        files: Their bytes by name, in the order in which they are applied.
    """

    folder: str
    files: Mapping[str, bytes]


def stated_of(top: str) -> Stated:
    """What the work tree at `top` states; nothing where it has no pyproject.toml.

    A commit is read whatever it states; of a work tree a mistake can still be put right.

    Raises:
        UsageError: Its pyproject.toml cannot be read, or has a key or value that means nothing.
    """
    from codevault_cache.selection import stated_in

    path = os.path.join(top, _PYPROJECT)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return stated_in(None)
    if b"codevault" in content:
        _check(content, path)
    return stated_in(content)


def _check(content: bytes, path: str) -> None:
    import difflib
    import tomllib

    try:
        table = tomllib.loads(content.decode()).get("tool", {}).get("codevault", {})
    except ValueError as error:
        raise UsageError(f"{path} is no TOML", str(error), f"correct {path}") from None
    known = dict.fromkeys(_LISTS, "a list of texts") | dict.fromkeys(_TEXTS, "a text")
    for key, value in table.items() if isinstance(table, dict) else ():
        near = ", ".join(difflib.get_close_matches(key, known) or known)
        if key not in known:
            what = f"[tool.codevault] of {path} has a key {key!r}, which means nothing"
            raise UsageError(what, "", f"correct or delete it; there is {near}")
        values = value if key in _LISTS and isinstance(value, list) else [value]
        if not all(isinstance(v, str) for v in values) or (key in _LISTS and values is not value):
            raise UsageError(
                f"[tool.codevault] {key} = {value!r} of {path} is not {known[key]}",
                "",
                f'{key} = ["..."]' if key in _LISTS else f'{key} = "..."',
            )


def migrations_of(top: str) -> tuple[str, ...] | None:
    """Names of the rules files of a work tree, in order; None where it states no folder.

    Raises:
        RulesError: It has no such folder, or a file in it has no name that can be recorded.
    """
    folder = stated_of(top).migrations
    if folder is None:
        return None
    try:
        names = os.listdir(os.path.join(top, folder))
    except OSError as error:
        raise RulesError(
            f"{top} has no folder {folder!r}, which its pyproject.toml names",
            str(error),
            f"mkdir {shlex.quote(os.path.join(top, folder))}",
        ) from None
    return _rules_among(names, folder)


def rules_of(top: str) -> Migrations | None:
    """The rules files of a work tree as they are now; None where it states no folder.

    Raises:
        RulesError: It has no such folder, or one of them cannot be read.
    """
    folder = stated_of(top).migrations
    found: dict[str, bytes] = {}
    for name in migrations_of(top) or ():
        path = os.path.join(top, folder or "", name)
        try:
            with open(path, "rb") as file:
                found[name] = file.read()
        except OSError as error:
            raise RulesError(
                f"{path} cannot be read", str(error), f"ls -l {shlex.quote(path)}"
            ) from None
    return None if folder is None else Migrations(folder, found)


def rules_at(splint: Splint, repo: str, cache: Cache) -> tuple[Stated, Migrations | None]:
    """What the commit of a splint states, and its rules files; they need not be among its files.

    Args:
        splint: The commit's code.
        repo: Its repository, as the caller named it.
        cache: Where the code is kept.

    Raises:
        FetchError: The files could not be had.
    """
    from codevault_cache.selection import selection_of, stated_in

    commit, roots = splint.snapshot.commit, splint.snapshot.roots
    tree = splint.tree
    if _PYPROJECT not in tree.paths:
        tree = _tree(Wanted(repo, commit, roots=roots, include=(_PYPROJECT,)), cache)
    stated = stated_in(tree.read(_PYPROJECT) if _PYPROJECT in tree.paths else None)
    folder = stated.migrations
    if folder is None:
        return stated, None
    if not selection_of(roots, ()).rooted(folder):
        try:
            tree = _tree(Wanted(repo, commit, roots=(folder,), shared=(), include=()), cache)
        except CodevaultError as error:
            if error.reference != "roots-missing":
                raise
            return stated, Migrations(folder, {})  # git keeps no empty folders
    start = "" if folder == "." else f"{folder}/"
    below = (path[len(start) :] for path in tree.paths if path.startswith(start))
    names = _rules_among([name for name in below if "/" not in name], folder)
    return stated, Migrations(folder, {name: tree.read(f"{start}{name}") for name in names})


def _rules_among(names: Iterable[str], folder: str) -> tuple[str, ...]:
    """The rules files among the names of a folder, in order.

    Raises:
        RulesError: Manifests, which hold text, could not name one of them.
    """
    found = tuple(sorted(name for name in names if name.endswith(".toml")))
    for name in found:
        if not is_text(name):
            why = "a checkpoint records the rules files by their names"
            raise RulesError(f"{name!a} in {folder} is no UTF-8", why, "rename that file")
    return found


def _tree(wanted: Wanted, cache: Cache) -> Tree:
    (snapshot,) = warm([wanted], cache)
    return cache.tree(snapshot.digest)
