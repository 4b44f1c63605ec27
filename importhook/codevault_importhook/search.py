"""Finds modules among the folders of a tree by the rules that CPython has for real folders.

The rules, in the order in which a test names them:
  [package-first]  a folder with `__init__.py` beats a module of the same name beside it
  [extension]      an extension module beats a `.py` of the same name
  [no-bytecode]    `.pyc` files are not looked at
  [portions]       folders without `__init__.py` are gathered; a regular find in a later folder
                   beats them
"""

from __future__ import annotations

import os
from importlib.machinery import EXTENSION_SUFFIXES
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from codevault_importhook.source import ModuleSource

_SEARCH_ORDER: Final = (*((suffix, True) for suffix in EXTENSION_SUFFIXES), (".py", False))


class Found(NamedTuple):  # made at each import, in half the time of a frozen dataclass
    """One module of the tree: a file, or for a namespace package the folders it is spread over."""

    path: str | None
    is_package: bool
    is_extension: bool = False
    portions: tuple[str, ...] = ()


class Folders:
    """The folders of a tree, as the search needs them: which names stand in each."""

    __slots__ = ("_base", "_children", "_leaf", "_order", "_spelled")

    def __init__(self, source: ModuleSource) -> None:
        self._base = source.location("").rstrip("/")
        self._leaf = os.path.basename(self._base)
        children: dict[str, set[str]] = {"": set()}
        for path in source.paths:
            folder, _, name = path.rpartition("/")
            while True:
                names = children.get(folder)
                if names is not None:
                    names.add(name)
                    break
                children[folder] = {name}
                folder, _, name = folder.rpartition("/")
        self._children = children
        self._spelled: dict[str, str] = {}
        suffixes = tuple(EXTENSION_SUFFIXES)
        extensions = any(path.endswith(suffixes) for path in source.paths)
        self._order = _SEARCH_ORDER if extensions else _SEARCH_ORDER[-1:]

    def of(self, location: str) -> str | None:
        """The tree's folder at a location; None if it lies elsewhere."""
        folder = self._spelled.get(location)
        if folder is None:
            folder = self.below(location)
            if folder is None or folder not in self._children:
                return None
            if location in (self._base, f"{self._base}/{folder}"):  # links may be moved
                self._spelled[location] = folder
        return folder

    def below(self, location: str) -> str | None:
        """The tree path that a location spells, if it lies in the tree at all.

        Old code spells as it likes: with `..`, or through links.
        """
        rest = location[len(self._base) :]
        if location.startswith(self._base) and rest[:1] in ("", "/") and "/." not in rest:
            return rest.strip("/")
        if location[:1] != "/" or self._leaf not in location:
            return None
        top, place = os.path.realpath(self._base), os.path.realpath(location)
        return place[len(top) + 1 :] if f"{place}/".startswith(f"{top}/") else None

    def find(self, leaf: str, folders: Iterable[str]) -> Found | None:
        """The module `leaf` in the first of `folders` that has it, else its namespace portions."""
        portions: list[str] = []
        for folder in folders:
            names = self._children.get(folder)
            if names is None:
                continue
            inner = f"{folder}/{leaf}" if folder else leaf
            inside = self._children.get(inner) if leaf in names else None
            if inside is not None:
                for suffix, extension in self._order:
                    if f"__init__{suffix}" in inside:
                        return Found(f"{inner}/__init__{suffix}", True, extension)
            for suffix, extension in self._order:
                if leaf + suffix in names and f"{inner}{suffix}" not in self._children:
                    return Found(inner + suffix, False, extension)
            if inside is not None:
                portions.append(inner)
        return Found(None, True, portions=tuple(portions)) if portions else None

    def names(self, folder: str) -> frozenset[str]:
        """The importable names that stand directly in `folder`, namespace folders included."""
        found = set()
        for name in self._children.get(folder, ()):
            stem = name.partition(".")[0]
            if not stem.isidentifier() or stem == "__init__":
                continue
            inner = f"{folder}/{name}" if folder else name
            if inner in self._children or any(name == stem + s for s, _ in self._order):
                found.add(stem)
        return frozenset(found)

    def modules(self, roots: Iterable[str]) -> list[str]:
        """The `.py` files that some import from one of `roots` could reach."""
        reached: set[str] = set()
        waiting = list(roots)
        seen = set(waiting)
        while waiting:
            folder = waiting.pop()
            for name in self._children.get(folder, ()):
                inner = f"{folder}/{name}" if folder else name
                if inner in self._children:
                    if name.isidentifier() and inner not in seen:
                        seen.add(inner)
                        waiting.append(inner)
                elif name.endswith(".py") and name[:-3].isidentifier():
                    reached.add(inner)
        return sorted(reached)

    def has_module(self, folder: str) -> bool:
        """Whether an import could reach a `.py` file below `folder`."""
        return bool(self.modules([folder]))
