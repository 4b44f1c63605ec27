"""Who registers something: a snapshot, the application, or a library for itself."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import codevault_importhook as hook
from codevault_importhook import libraries, registry
from codevault_importhook.naming import PREFIX, WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

OURS = __name__.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Registrant:
    """A party and a place in its code.

    Attributes:
        splint: The snapshot that registers; None for the application and its libraries.
        module: The registering module's name in `sys.modules`; may be empty.
        place: `file:line`; may be empty.
        library: Whether it is a library of the application rather than the application.
        is_unloaded: Whether the snapshot was unloaded since.
    """

    splint: str | None
    module: str = ""
    place: str = ""
    library: bool = False
    is_unloaded: bool = False

    def __str__(self) -> str:
        if self.splint is None and not self.module:
            whole = "the application or one of its libraries"
        else:
            party = self.splint or ("a library" if self.library else "the application")
            whole = f"{hook.strip(self.module)} of {party}"
        return f"{whole} ({self.place})" if self.place else whole


def outside(frame: FrameType | None, within: Iterable[str]) -> FrameType | None:
    """The first frame, from `frame` up, that is not one of the registry's own modules `within`."""
    skipped = (OURS, *within)
    while frame is not None and _in(frame.f_globals.get("__name__"), skipped):
        frame = frame.f_back
    return frame


def is_for_itself(frame: FrameType) -> bool:
    """Whether a library's module is being executed: what it registers then is its own."""
    above: FrameType | None = frame
    while above is not None and libraries.is_library_frame(above) and not _is_known(_module(above)):
        if above.f_code.co_name == "<module>":
            return True
        above = above.f_back
    return False


def registering(frame: FrameType, values: Iterable[object]) -> Registrant | None:
    """Who registers `values` by a call from `frame`; None for a library that acts for itself.

    Where the caller is a library, the registered code decides: a helper registers on behalf of
    whoever wrote the functions it is given.
    """
    module = _module(frame)
    place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    if module.startswith(PREFIX):
        return Registrant(module[:WIDTH], module, place)
    if _is_known(module) or not libraries.is_library_frame(frame):
        holding = registry.holding(frame.f_code.co_filename)  # old code that was loaded by path
        return Registrant(None if holding is None else holding.name, module, place)
    authors = list(_authors(values))
    if authors:
        return next((author for author in authors if not author.library), None)
    deciding = hook.deciding(frame)
    return None if deciding is None else Registrant(deciding.name, module, place)


def _module(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__")
    return name if isinstance(name, str) else ""


def _is_known(module: str) -> bool:
    """Whether a snapshot has or shares a module of this name: then it is no library's."""
    return registry.is_shared(module) or registry.is_own(module)


def behind(values: Iterable[object]) -> Registrant:
    """Who wrote what a registry holds, where nobody saw the registration."""
    authors = list(_authors(values))
    mine = [author for author in authors if not author.library]
    return next(iter(mine or authors), Registrant(None))


def at(file: str, line: int) -> Registrant:
    """A registrant of which only a place is known; never a snapshot."""
    loaded = (n for n, m in list(sys.modules.items()) if getattr(m, "__file__", None) == file)
    return Registrant(None, next(loaded, ""), f"{file}:{line}", libraries.is_library_file(file))


def _in(module: object, names: tuple[str, ...]) -> bool:
    return isinstance(module, str) and any(
        module == name or module.startswith(f"{name}.") for name in names
    )


def _authors(values: Iterable[object]) -> Iterator[Registrant]:
    for value in values:
        inner: Any = value.__func__ if isinstance(value, MethodType) else value
        inner = inspect.unwrap(inner) if callable(inner) else inner
        if not isinstance(inner, FunctionType | type):
            continue
        module = inner.__module__ or ""
        if isinstance(inner, FunctionType):
            code = inner.__code__
            place = f"{code.co_filename}:{code.co_firstlineno}"
            library = libraries.is_library_file(code.co_filename)
        else:
            place, library = "", _is_library_module(module)
        if module.startswith(PREFIX):
            yield Registrant(module[:WIDTH], module, place)
        else:
            yield Registrant(None, module, place, library and not _is_known(module))


def _is_library_module(module: str) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return module != "__main__"
    return libraries.is_library_file(file)
