"""The modules of a commit, found in its tree without a list of all its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from codevault.identify.classes import ClassSource, ModuleSource, read_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault_cache.chronicle import Chronicle

_TREE: Final = 0o040000
_FILES: Final = (0o100644, 0o100755)
_DEPTH: Final = 6
"""How deep a root may lie."""
_BASES: Final = 64


@dataclass(slots=True)
class Library:
    """Trees and sources of a chronicle: each tree is looked through, each source parsed, once."""

    chronicle: Chronicle
    tops: frozenset[str]
    roots: tuple[str, ...]
    _holders: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    _sources: dict[str, ModuleSource] = field(default_factory=dict)
    parsed: int = 0

    def roots_of(self, tree: str) -> tuple[str, ...]:
        """The folders from which one of the top-level names leads on, the shallowest first."""
        if self.roots:
            return self.roots
        found = sorted(self._below(tree, _DEPTH), key=lambda f: (f.count("/"), f))
        return tuple(folder or "." for folder in found)

    def _below(self, tree: str, depth: int) -> tuple[str, ...]:
        known = self._holders.get((tree, depth))
        if known is None:
            entries = self.chronicle.entries(tree)
            here = any(_stem(e.name) in self.tops and _fits(e.name, e.mode) for e in entries)
            known = ("",) if here else ()
            if depth:
                known += tuple(
                    f"{e.name}/{folder}".rstrip("/")
                    for e in entries
                    if e.mode == _TREE and not e.name.startswith(".")
                    for folder in self._below(e.oid, depth - 1)
                )
            self._holders[tree, depth] = known
        return known

    def module(self, tree: str, roots: Sequence[str], name: str) -> tuple[str, bool] | None:
        """Id of a module's source in a commit, and whether it is a package; None without one."""
        parts = name.split(".")
        for root in roots:
            folder = [] if root == "." else root.split("/")
            above = self.folder(tree, [*folder, *parts[:-1]])
            if above is None:
                continue
            entries = {entry.name: entry for entry in self.chronicle.entries(above)}
            inner = entries.get(parts[-1])
            if inner is not None and inner.mode == _TREE:
                for entry in self.chronicle.entries(inner.oid):
                    if entry.name == "__init__.py" and entry.mode in _FILES:
                        return entry.oid, True
            file = entries.get(f"{parts[-1]}.py")
            if file is not None and file.mode in _FILES:
                return file.oid, False
        return None

    def folder(self, tree: str, parts: Sequence[str]) -> str | None:
        """The id of a folder's tree; None where there is none."""
        for part in parts:
            found = [
                e.oid for e in self.chronicle.entries(tree) if e.name == part and e.mode == _TREE
            ]
            if not found:
                return None
            tree = found[0]
        return tree

    def source(self, oid: str) -> ModuleSource:
        """What a file of that id defines."""
        if oid not in self._sources:
            content = b"".join(data for _, data in self.chronicle.files([oid]))
            self._sources[oid] = read_source(content)
            self.parsed += 1
        return self._sources[oid]


def _stem(name: str) -> str:
    return name.removesuffix(".py")


def _fits(name: str, mode: int) -> bool:
    return mode == _TREE or (name.endswith(".py") and mode in _FILES)


@dataclass(frozen=True, slots=True)
class Shelf:
    """The modules of one commit."""

    library: Library
    tree: str
    roots: tuple[str, ...]

    def has(self, module: str) -> bool:
        """Whether the commit has a module."""
        return self.library.module(self.tree, self.roots, module) is not None

    def found(self, module: str, name: str, depth: int = 8) -> tuple[str, str] | None:
        """Where a name is defined that a module has: the module and the name there."""
        there = self.library.module(self.tree, self.roots, module)
        if there is None or not depth:
            return None
        source = self.library.source(there[0])
        if name in source.classes or name in source.names:
            return module, name
        package = module if there[1] else module.rpartition(".")[0]
        top, _, rest = name.partition(".")
        if top in source.imports:
            target = absolute(source.imports[top], package)
            outer, _, last = target.rpartition(".")
            deeper = self.found(target, rest, depth - 1) if rest else None
            inner = f"{last}.{rest}" if rest else last
            if deeper is None and outer:
                deeper = self.found(outer, inner, depth - 1)
            # What is imported from elsewhere is there as well, if elsewhere is no own module.
            own = target.partition(".")[0] in self.library.tops
            return deeper or ((module, name) if not own else None)
        for star in source.stars:
            deeper = self.found(absolute(star, package), name, depth - 1)
            if deeper is not None:
                return deeper
        return None

    def lineage(self, module: str, name: str) -> list[ClassSource]:
        """A class and its own bases, the class first; what it has of libraries is left out."""
        waiting, found, seen = [(module, name)], [], set[tuple[str, str]]()
        while waiting and len(seen) < _BASES:
            where = self.found(*waiting.pop(0))
            if where is None or where in seen:
                continue
            seen.add(where)
            there = self.library.module(self.tree, self.roots, where[0])
            assert there is not None
            source = self.library.source(there[0])
            cls = source.classes.get(where[1])
            if cls is not None:
                found.append(cls)
                waiting += [(where[0], base) for base in cls.bases]
        return found

    def texts(self, package: str, names: Sequence[str]) -> list[bytes]:
        """The contents of files right in a package's folder, as far as there are any."""
        chronicle, found = self.library.chronicle, []
        for root in self.roots:
            folder = [] if root == "." else root.split("/")
            inside = self.library.folder(self.tree, [*folder, *package.split(".")])
            for entry in chronicle.entries(inside) if inside is not None else ():
                if entry.name in names and entry.mode in _FILES:
                    found += [content for _, content in chronicle.files([entry.oid])]
        return found

    def modules_with(self, start: Sequence[str]) -> frozenset[str]:
        """Ids of the sources of modules, and of the own modules that they import at their top."""
        waiting, seen = list(start), set[str]()
        oids = set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            there = self.library.module(self.tree, self.roots, name)
            if there is None:
                continue
            oids.add(there[0])
            package = name if there[1] else name.rpartition(".")[0]
            source = self.library.source(there[0])
            for target in (*source.imports.values(), *source.stars):
                full = absolute(target, package)
                if full.partition(".")[0] in self.library.tops:
                    waiting += [full, full.rpartition(".")[0] or full]
            outer = name.rpartition(".")[0]
            waiting += [outer] if outer else []
        return frozenset(oids)


def absolute(target: str, package: str) -> str:
    """A dotted name that an import statement means, seen from its package."""
    dots = len(target) - len(target.lstrip("."))
    if not dots:
        return target
    parts = package.split(".")
    outer = parts[: len(parts) - dots + 1]
    return ".".join([*outer, target.lstrip(".")]).strip(".")
