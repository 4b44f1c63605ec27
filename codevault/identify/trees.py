"""Trees and sources of all commits, each read once."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from codevault.identify.classes import ModuleSource, read_source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codevault_cache.commithistory import Chronicle
    from codevault_cache.gitobjects import TreeEntry

_TREE: Final = 0o040000
FILES: Final = (0o100644, 0o100755)
_DEPTH: Final = 6
"""How deep a root may lie."""


class Library:
    """Trees and sources of a chronicle: each tree is looked through, each source parsed, once.

    Attributes:
        chronicle: The repository's.
        tops: Top-level names that count as own.
        roots: Folders of the import path; empty finds them.
        parsed: How many sources were parsed.
    """

    def __init__(self, chronicle: Chronicle, tops: frozenset[str], roots: tuple[str, ...]) -> None:
        self.chronicle, self.tops, self.roots = chronicle, tops, roots
        self.parsed = 0
        self._holders: dict[tuple[str, int], tuple[str, ...]] = {}
        self._sources: dict[str, ModuleSource] = {}
        self._targets: dict[tuple[str, str], tuple[str, ...]] = {}
        # What stands below an unchanged folder is the same in all commits that have it.
        self._inside = lru_cache(maxsize=1 << 18)(self._module)

    def targets(self, oid: str, package: str) -> tuple[str, ...]:
        """Own modules that a file imports at its top, as far as they may be modules."""
        known = self._targets.get((oid, package))
        if known is None:
            source = self.source(oid)
            means = (absolute(t, package) for t in (*source.imports.values(), *source.stars))
            own = [name for name in means if name.partition(".")[0] in self.tops]
            outer = [name.rpartition(".")[0] for name in own if "." in name]
            known = self._targets[oid, package] = tuple(dict.fromkeys((*own, *outer)))
        return known

    def roots_of(self, tree: str) -> tuple[str, ...]:
        """The folders from which one of the top-level names leads on, the shallowest first."""
        if self.roots:
            return self.roots
        found = sorted(self._below(tree, _DEPTH), key=lambda f: (f.count("/"), f))
        return tuple(folder or "." for folder in found)

    def _below(self, tree: str, depth: int) -> tuple[str, ...]:
        known = self._holders.get((tree, depth))
        if known is None:
            names = self.chronicle.entries(tree)
            known = ("",) if any(_leads(names, top) for top in self.tops) else ()
            # A root lies outside of packages.
            if depth and "__init__.py" not in names:
                known += tuple(
                    f"{name}/{folder}".rstrip("/")
                    for name, entry in names.items()
                    if entry.mode == _TREE and not name.startswith(".")
                    for folder in self._below(entry.oid, depth - 1)
                )
            self._holders[tree, depth] = known
        return known

    def module(self, folders: Sequence[str], name: str) -> tuple[str, bool] | None:
        """Id of a module's source below the first folder that has it, and whether it is a package.

        Args:
            folders: Ids of the roots' trees, in order.
            name: The module.
        """
        inner = name.replace(".", "/")
        return next((f for folder in folders if (f := self._inside(folder, inner))), None)

    def _module(self, tree: str, inner: str) -> tuple[str, bool] | None:
        names = self.chronicle.entries(tree)
        name, _, rest = inner.partition("/")
        folder = names.get(name)
        if rest:
            if folder is None or folder.mode != _TREE:
                return None
            found: tuple[str, bool] | None = self._inside(folder.oid, rest)
            return found
        if folder is not None and folder.mode == _TREE:
            package = self.chronicle.entries(folder.oid).get("__init__.py")
            if package is not None and package.mode in FILES:
                return package.oid, True
        file = names.get(f"{name}.py")
        return None if file is None or file.mode not in FILES else (file.oid, False)

    def folders(self, tree: str, roots: Sequence[str]) -> tuple[str, ...]:
        """The ids of the roots' trees in a commit; of those that it has."""
        found = (tree if root == "." else self._folder(tree, root) for root in roots)
        return tuple(oid for oid in found if oid is not None)

    def _folder(self, tree: str, path: str) -> str | None:
        found = self.chronicle.entry(tree, path)
        return None if found is None or found.mode != _TREE else found.oid

    def source(self, oid: str) -> ModuleSource:
        """What a file of that id defines."""
        if oid not in self._sources:
            content = b"".join(data for _, data in self.chronicle.files([oid]))
            self._sources[oid] = read_source(content)
            self.parsed += 1
        return self._sources[oid]


def _leads(names: Mapping[str, TreeEntry], top: str) -> bool:
    folder, file = names.get(top), names.get(f"{top}.py")
    return (folder is not None and folder.mode == _TREE) or (
        file is not None and file.mode in FILES
    )


def absolute(target: str, package: str) -> str:
    """A dotted name that an import statement means, seen from its package."""
    dots = len(target) - len(target.lstrip("."))
    if not dots:
        return target
    parts = package.split(".")
    outer = parts[: len(parts) - dots + 1]
    return ".".join([*outer, target.lstrip(".")]).strip(".")
