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


def is_defined(code: CodeVersion, name: str) -> bool:
    """Whether the module of that name has such a definition at its top, going by its source."""
    module, top, _ = _parted(name)
    found = (_definitions(read) for other, read in _modules(code) if other == module)
    return top in next(found, {})


def is_importable(top: str) -> bool:
    """Whether this Python finds a top-level module of that name; it is not imported."""
    with contextlib.suppress(ImportError, ValueError):
        return importlib.util.find_spec(top) is not None
    return False


def elsewhere(code: CodeVersion, name: str) -> list[str]:
    """Class paths of definitions with the same last name at the top of other modules.

    Args:
        code: The new code.
        name: The class path that it does not have.

    Returns:
        The nearest by their modules' names first.
    """
    module, top, rest = _parted(name)
    found = [
        f"{other}:{top}{rest}"
        for other, read in _modules(code)
        if other != module and top in _definitions(read)
    ]
    return sorted(found, key=lambda path: -_alike(path.partition(":")[0], module))


def renamed(old: CodeVersion, new: CodeVersion, name: str) -> str | None:
    """What a definition may be called now: the one that its module has got since, if it is one."""
    module, top, rest = _parted(name)
    before, after = (
        next((_definitions(read) for other, read in _modules(code) if other == module), {})
        for code in (old, new)
    )
    come = [other for other, kind in after.items() if other not in before and kind == before[top]]
    return f"{module}:{come[0]}{rest}" if len(come) == 1 else None


def _parted(name: str) -> tuple[str, str, str]:
    module, _, attributes = name.partition(":") if ":" in name else name.rpartition(".")
    top, dot, rest = attributes.partition(".")
    return module, top, dot + rest


def _definitions(read: Callable[[], bytes]) -> dict[str, str]:
    """Classes and functions at the top of a file: name to `class` or `def`."""
    try:
        return {name.decode(): kind.decode() for kind, name in _DEFINED.findall(read())}
    except Exception:
        return {}  # a file that cannot be read defines nothing


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
    for path in sorted(tree.paths)[: _FILES * 4]:
        for root in splint.snapshot.roots:
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
