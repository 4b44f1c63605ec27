"""Where a name of the old code may stand in the new: the same class or function elsewhere."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from difflib import SequenceMatcher
from functools import partial
from typing import TYPE_CHECKING

from codevault.build import CurrentCode
from codevault.splint import Splint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from codevault.build import CodeVersion

_FILES = 5000
_DEFINED = re.compile(rb"^(class|def)\s+(\w+)", re.MULTILINE)


def is_importable(top: str) -> bool:
    """Whether this Python finds a top-level module of that name; it is not imported."""
    with contextlib.suppress(ImportError, ValueError):
        return importlib.util.find_spec(top) is not None
    return False


def unshared(*codes: CodeVersion | None) -> str | None:
    """A top-level module that some of these share with the application, which has none such."""
    splints = [code for code in codes if isinstance(code, Splint)]
    names = (name for splint in splints for name in splint.snapshot.shared)
    tops = (name.partition(".")[0] for name in names)
    return next((top for top in tops if not is_importable(top)), None)


class Sources:
    """The modules of a code by name; what was read once is kept."""

    def __init__(self, code: CodeVersion) -> None:
        self._readers = dict(_modules(code))
        self._read: dict[str, bytes] = {}

    def mentions(self, name: str) -> bool:
        """Whether the module of a class path has that name at all: defined there, or imported."""
        module, top, _ = _parted(name)
        return re.search(rf"\b{re.escape(top)}\b".encode(), self.read(module)) is not None

    def elsewhere(self, name: str) -> list[str]:
        """Class paths of definitions with the same last name at the top of other modules.

        The nearest by their modules' names come first.
        """
        module, top, rest = _parted(name)
        others = (other for other in self._readers if other != module)
        found = [f"{other}:{top}{rest}" for other in others if top in self.definitions(other)]
        return sorted(found, key=lambda path: -_alike(path.partition(":")[0], module))

    def renamed(self, old: Sources, name: str) -> str | None:
        """What a definition may be called now: what its module got since, if that is one."""
        module, top, rest = _parted(name)
        before, after = old.definitions(module), self.definitions(module)
        kind = before.get(top)
        come = [other for other, what in after.items() if other not in before and what == kind]
        return f"{module}:{come[0]}{rest}" if len(come) == 1 else None

    def definitions(self, module: str) -> dict[str, str]:
        """Classes and functions at the top of a module: name to `class` or `def`."""
        found = _DEFINED.findall(self.read(module))
        return {name.decode(): kind.decode() for kind, name in found}

    def read(self, module: str) -> bytes:
        """The source of a module; nothing where there is none that can be read."""
        if module not in self._read:
            self._read[module] = b""
            with contextlib.suppress(Exception):
                self._read[module] = self._readers[module]()
        return self._read[module]


def _parted(name: str) -> tuple[str, str, str]:
    module, _, attributes = name.partition(":") if ":" in name else name.rpartition(".")
    top, dot, rest = attributes.partition(".")
    return module, top, dot + rest


def _alike(one: str, other: str) -> float:
    return SequenceMatcher(None, one.split("."), other.split(".")).ratio()


def _modules(code: CodeVersion) -> Iterator[tuple[str, Callable[[], bytes]]]:
    if isinstance(code, Splint):
        yield from _of_tree(code)
    elif isinstance(code, CurrentCode):
        for top in sorted(code.tops):
            yield from _of_package(top)


def _of_tree(splint: Splint) -> Iterator[tuple[str, Callable[[], bytes]]]:
    tree = splint.tree
    roots = sorted(splint.snapshot.roots, key=lambda root: -len(root.removeprefix(".")))
    for path in sorted(tree.paths)[: _FILES * 4]:
        for root in roots:
            start = "" if root == "." else f"{root}/"
            if path.endswith(".py") and path.startswith(start):
                yield _named(path[len(start) :]), partial(tree.read, path)
                break


def _of_package(top: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(top)
        if spec is not None and spec.has_location and str(spec.origin).endswith(".py"):
            yield top, partial(_read, str(spec.origin))
        for folder in (spec and spec.submodule_search_locations) or ():
            above = os.path.dirname(folder)
            for here, folders, files in os.walk(folder):
                folders[:] = sorted(f for f in folders if f.isidentifier() and f != "__pycache__")
                for file in sorted(files)[:_FILES]:
                    if file.endswith(".py"):
                        path = os.path.join(here, file)
                        yield _named(os.path.relpath(path, above)), partial(_read, path)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _named(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
