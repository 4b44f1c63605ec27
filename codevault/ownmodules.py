"""Which modules are a policy's own: loaded application code that it reaches, and where it lies."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from codevault.errors import CaptureError
from codevault.packages import home_of
from codevault_cache.limits import FILE_BYTES
from codevault_importhook import libraries
from codevault_importhook.naming import is_text

if TYPE_CHECKING:
    from collections.abc import Iterable

_COMPILED = (".pyc", ".so", ".pyd")
_OURS = ("codevault", "codevault_importhook", "codevault_cache")


@dataclass(frozen=True, slots=True)
class OwnModule:
    """One module of the application.

    Attributes:
        loaded: The name under which it is loaded; may be `__main__`.
        name: The name by which an import finds it.
        file: Its file.
        root: The folder from which that name leads to the file.
    """

    loaded: str
    name: str
    file: str
    root: str


def reached(things: Iterable[Any], shared: Iterable[str]) -> list[OwnModule]:
    """The own modules that hold `things`, and those which they reach by their global names.

    Libraries, shared modules and codevault itself are not own.

    Raises:
        CaptureError: A thing was defined where no file is: a notebook, or standard input. Or a
            module's name is no text.
    """
    prefixes = tuple(shared)
    waiting = [thing.__module__ for thing in things]
    found: dict[str, OwnModule] = {}
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name)
        if module is None or name in found or _is_shared(name, prefixes):
            continue
        own = _own(module, name)
        if own is None:
            continue
        if not is_text(own.name):
            raise CaptureError(
                f"the name of the own module {own.name!a} is no UTF-8",
                f"old code could not import {own.file!a}, and no checkpoint can name it",
                "rename that file, or load it by its path where it is used",
            )
        found[name] = own
        parts = own.name.split(".")
        waiting += [".".join(parts[:end]) for end in range(1, len(parts))]
        for value in list(vars(module).values()):
            target = value.__name__ if isinstance(value, ModuleType) else home_of(value)
            if isinstance(target, str) and target not in found:
                waiting.append(target)
    return sorted(found.values(), key=lambda own: own.name)


def must_have_file(thing: Any) -> None:
    """Refuses what was defined in a notebook or on standard input.

    Raises:
        CaptureError: There is no file with the definition of `thing`.
    """
    module = sys.modules.get(thing.__module__)
    file = getattr(module, "__file__", None)
    if module is None or file is None or not os.path.exists(file):
        raise CaptureError(
            f"{thing.__qualname__} was defined in {thing.__module__}, which is no file",
            "code that was typed into a notebook or on standard input cannot be found again",
            "put the policy's code into a .py file and import it from there",
        )


def _is_shared(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == p or name.startswith(f"{p}.") for p in prefixes)


def _own(module: ModuleType, loaded: str) -> OwnModule | None:
    file = getattr(module, "__file__", None)
    if loaded.partition(".")[0] in _OURS or not isinstance(file, str):
        return None
    file = os.path.realpath(file)
    if libraries.is_library_file(file) or not file.endswith(".py"):
        return None
    spec = getattr(module, "__spec__", None)
    name = loaded
    if loaded == "__main__":
        name = spec.name if spec is not None else os.path.basename(file)[: -len(".py")]
    root = os.path.dirname(file)
    depth = name.count(".") + (1 if os.path.basename(file) == "__init__.py" else 0)
    for _ in range(depth):
        root = os.path.dirname(root)
    tail = name.replace(".", os.sep)
    if file[len(root) + 1 :] not in (f"{tail}.py", os.path.join(tail, "__init__.py")):
        return None  # loaded from a file of another name: no import finds it again
    return OwnModule(loaded, name, file, root)


def roots_of(modules: Iterable[OwnModule]) -> list[str]:
    """The folders that the modules were imported from, in the order of `sys.path`."""
    order = {
        os.path.realpath(entry or os.getcwd()): i
        for i, entry in reversed(list(enumerate(sys.path)))
    }
    folders = dict.fromkeys(module.root for module in modules)
    return sorted(folders, key=lambda folder: order.get(folder, len(order)))


def files_below(folder: str) -> list[str]:
    """The regular files of a package that may travel: no byte code, nothing compiled or large."""
    found = []
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if f != "__pycache__" and not f.startswith("."))
        found += [os.path.join(here, n) for n in sorted(names) if not n.endswith(_COMPILED)]
    return [p for p in found if os.path.isfile(p) and os.path.getsize(p) <= FILE_BYTES]
