"""The modules of one commit, found in its tree without a list of all its files."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

from codevault.identify.trees import FILES, Library, absolute

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from codevault.identify.classes import ClassSource

_BASES: Final = 64
"""How many classes of a lineage are followed."""


class Shelf:
    """The modules of one commit.

    Attributes:
        library: Where they are read.
        asked: What was looked up so far, in order, and what was found.
    """

    def __init__(self, library: Library, tree: str) -> None:
        self.library, self._tree = library, tree
        there = library.roots_of(tree)
        self.roots = tuple(root for root in there if library.folders(tree, [root]))
        self._folders = library.folders(tree, self.roots)
        self.asked: dict[str, Any] = {"": self.roots}

    def answer(self, question: str) -> Hashable:
        """What a question of `asked` would be answered here."""
        if not question:
            return self.roots
        package, _, name = question.partition("/")
        return self.text(package, name) if name else self.module(package)

    def module(self, name: str) -> tuple[str, bool] | None:
        """Id of a module's source, and whether it is a package; None without one."""
        if name not in self.asked:
            self.asked[name] = self.library.module(self._folders, name)
        found: tuple[str, bool] | None = self.asked[name]
        return found

    def used(self) -> set[str]:
        """The roots in which modules were found so far."""
        found = set()
        for name, answer in self.asked.items():
            if name and "/" not in name and answer is not None:
                roots = zip(self.roots, self._folders, strict=False)
                inside = (root for root, at in roots if self.library.module([at], name))
                found |= set(itertools.islice(inside, 1))
        return found

    def text(self, package: str, name: str) -> str | None:
        """Id of a file right in a package's folder, or None."""
        question = f"{package}/{name}"
        if question not in self.asked:
            inner = f"{package.replace('.', '/')}/{name}"
            paths = (inner if root == "." else f"{root}/{inner}" for root in self.roots)
            entries = (self.library.chronicle.entry(self._tree, path) for path in paths)
            files = (e.oid for e in entries if e is not None and e.mode in FILES)
            self.asked[question] = next(files, None)
        found: str | None = self.asked[question]
        return found

    def found(self, module: str, name: str, depth: int = 8) -> tuple[str, str] | None:
        """Where a name is defined that a module has: the module and the name there."""
        there = self.module(module)
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
            there = self.module(where[0])
            assert there is not None
            source = self.library.source(there[0])
            cls = source.classes.get(where[1])
            if cls is not None:
                found.append(cls)
                waiting += [(where[0], base) for base in cls.bases]
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
            there = self.module(name)
            if there is None:
                continue
            oids.add(there[0])
            package = name if there[1] else name.rpartition(".")[0]
            waiting += self.library.targets(there[0], package)
            outer = name.rpartition(".")[0]
            waiting += [outer] if outer else []
        return frozenset(oids)
