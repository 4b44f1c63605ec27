"""A snapshot mounted in this process: own, shared and third-party names are told apart here."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from typing import TYPE_CHECKING, Any

from codevault_importhook import codepack, libraries, pickles, stand_ins
from codevault_importhook.loader import SplintLoader
from codevault_importhook.naming import WIDTH, is_text
from codevault_importhook.rewrite import STAND_INS, Rules, compile_module
from codevault_importhook.search import Folders, Found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import CodeType, ModuleType

    from codevault_importhook.source import ModuleSource


class Mount:
    """One splint: what its modules import, and from where.

    Attributes:
        name: The splint's name, `_splint_<commit12>_<spec12>`.
        source: The tree.
        roots: Folders of the tree that stand on the import path, in order; "" is its top.
        shared: Dotted prefixes that are the host's modules.
        identity: What a second mount under the same name must equal.
        rules: How the modules are rewritten; `rules.own` are the top-level names that are looked up
            in the tree and never fall through to the host.
        tag: Names everything but the tree that decides the compiled code.
        lock: Taken by callers around a whole load; the finder never takes it.
    """

    def __init__(
        self, name: str, source: ModuleSource, roots: Sequence[str], shared: Sequence[str]
    ) -> None:
        self.name = name
        self.source = source
        self.roots = normal_roots(roots)
        self.shared = frozenset(shared)
        self._shared = tuple(f"{name}." for name in self.shared)
        self.identity = (source.digest, self.roots, self.shared)
        self.lock = threading.RLock()
        self.loader = SplintLoader(self)
        self._folders = Folders(source)
        names = frozenset().union(*(self._folders.names(root) for root in self.roots))
        self._third_party: dict[str, bool] = {}
        own = names - frozenset(sys.builtin_module_names)
        self.rules = Rules(own, stand_ins.names(own, self.is_host))
        self.tag = codepack.tag(self.rules)
        self._pack: codepack.CodePack | None = None
        self._again: Callable[[], codepack.CodePack | None] | None = None

    # -- compiled code ------------------------------------------------------------------------

    def compile(self, earlier: codepack.CodePack | None = None) -> bytes:
        """The code pack of this tree, to be kept under `tag` by whoever keeps the tree.

        Code of unchanged files is taken from `earlier`, a verified pack of the same tag.
        """
        return codepack.make(self.source, self._folders.modules(self.roots), self.rules, earlier)

    def use(
        self,
        pack: codepack.CodePack,
        again: Callable[[], codepack.CodePack | None] | None = None,
    ) -> None:
        """Takes code from a pack that `compile` made.

        Args:
            pack: The pack, of this mount's tag.
            again: Gives it once more, verified, for an import after `release`; None if it is gone.
        """
        self._again = again
        self._pack = pack

    def release(self) -> None:
        """Lets go of the pack in memory; an import that comes later reads it again."""
        if self._again is not None:
            self._pack = None

    def code(self, path: str) -> CodeType:
        """The code of one file: from the pack, or compiled now from the verified source."""
        location = self.source.location(path)
        pack = self._pack or self._reopened()
        if pack is not None:
            code = pack.code(path, self.name, location)
            if pack.is_spent:
                self.release()
            if code is not None:
                return code
        return compile_module(self.source.read(path), location, self.rules, self.name)

    def _reopened(self) -> codepack.CodePack | None:
        if self._again is not None:
            self._pack = self._again()
        return self._pack

    # -- whose name is it ---------------------------------------------------------------------

    def inside(self, module: str) -> str:
        """The name under which `module` stands here: prefixed if own, itself otherwise."""
        return f"{self.name}.{module}" if self.rules.owns(module) else module

    def is_host(self, module: str) -> bool:
        """Whether `module` is the host's: shared, or third party over a stray namespace folder."""
        if self._shared and f"{module}.".startswith(self._shared):
            return True
        top = module.partition(".")[0]
        known = self._third_party.get(top)
        if known is None:
            known = self._third_party[top] = self._is_third_party(top)
        return known

    def claims(self, module: str) -> bool:
        """Whether compiled code that asks for `module` means the snapshot's, beyond doubt.

        Not so for a library that is installed too: its own compiled code asks for it as well.
        """
        if not self.rules.owns(module) or self.is_host(module):
            return False
        return not libraries.is_third_party(module.partition(".")[0], regular_only=False)

    def _is_third_party(self, top: str) -> bool:
        found = self._folders.find(top, self.roots)
        if found is None or found.path is not None:
            return False
        with_modules = any(self._folders.has_module(folder) for folder in found.portions)
        return libraries.is_third_party(top, regular_only=with_modules)

    # -- the tree as an import path -----------------------------------------------------------

    def folder(self, location: str) -> str | None:
        """The tree's folder at a real location; None if it lies elsewhere."""
        return self._folders.of(location)

    def inner(self, location: str) -> str | None:
        """The tree path of a laid-out file; None for every other file."""
        path = self._folders.below(location)
        return path if path in self.source.paths else None

    def find(self, leaf: str, path: Sequence[str]) -> Found | None:
        """The module `leaf` on `path`; entries outside the tree are not looked at.

        Names that are no text are none: pickles and records could not hold them.
        """
        of = self._folders.of
        found = self._folders.find(leaf, [f for e in path if (f := of(e)) is not None])
        return found if is_text(leaf) else None

    def names(self, *path: str) -> frozenset[str]:
        """The importable names that stand directly on `path`."""
        folders = (self._folders.of(entry) for entry in path)
        return frozenset().union(*(self._folders.names(f) for f in folders if f is not None))

    def name_at(self, location: str, leaf: str) -> str:
        """The full name of the module `leaf` in a folder, by the innermost root around it."""
        folder = self.folder(location) or ""
        around = [r for r in self.roots if not r or f"{folder}/".startswith(f"{r}/")]
        inner = folder[len(max(around, key=len, default="")) :].strip("/")
        return ".".join([self.name, *inner.split("/"), leaf] if inner else [self.name, leaf])

    def locations(self) -> list[str]:
        """The roots as real folders: the splint's `__path__`."""
        return [self.source.location(root) for root in self.roots]

    @property
    def shown_roots(self) -> str:
        """The roots, for messages."""
        return ", ".join(root or "." for root in self.roots)

    # -- names as the old code knows them -----------------------------------------------------

    @contextlib.contextmanager
    def original_names(self) -> Iterator[None]:
        """Strips the splint's name from the `name` of an import error that passes through."""
        try:
            yield
        except ImportError as error:
            if error.name is not None and error.name.startswith(f"{self.name}."):
                error.name = error.name[WIDTH + 1 :]
            raise

    def import_(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """`__import__` for the snapshot's modules: only explicit calls reach it."""
        if level or not self.rules.owns(name):
            return __import__(name, globals, locals, fromlist or (), level)
        with self.original_names():
            found = __import__(self.inside(name), globals, locals, fromlist or ("__doc__",))
        return found if fromlist else sys.modules[self.inside(name.partition(".")[0])]

    @functools.cached_property
    def pickle(self) -> ModuleType:
        """A `pickle` whose pickles carry original names, and whose names mean this mount."""
        return pickles.module(self)

    def modules(self) -> dict[str, ModuleType]:
        """The own modules that are loaded, by their original names."""
        start = self.name + "."
        # A list of the names alone: making pairs lets the collector run, and finalizers that take
        # modules out (Jinja's, of compiled templates) break the iteration.
        names = [name for name in list(sys.modules) if name.startswith(start)]
        found = ((name, sys.modules.get(name)) for name in names if name != start + STAND_INS)
        return {
            name[len(start) :]: module
            for name, module in found
            if module is not None and getattr(module, "__name__", name) == name
        }


def normal_roots(roots: Sequence[str]) -> tuple[str, ...]:
    """Roots in one spelling: no slash at the end, and "" for the top."""
    return tuple("" if root in ("", ".") else root.strip("/") for root in roots)
