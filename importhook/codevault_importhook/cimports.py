"""Imports that C code makes by itself for old code: refused where they mean an own module.

`PyImport_ImportModule`, and with it the C unpickler, calls the `__import__` that it finds by
`__builtins__` in the globals of the innermost frame, and then takes the module from `sys.modules`:
it can be refused there, and cannot be answered. CPython takes a module for `__builtins__` as well
as its dictionary, and gives functions the same dictionary either way: so the modules of a mount
have the module, as `__main__` has, and names, import statements and calls cost what they cost.
"""

from __future__ import annotations

import builtins
import importlib
from sys import _getframe
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from codevault_importhook import stringimports
from codevault_importhook.extensions import unfollowed
from codevault_importhook.naming import PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_names: Final = vars(builtins)


class _Builtins(ModuleType):
    """The class of `builtins`: as a module's, except that `__import__` looks at who asks."""

    @property
    def __import__(self) -> Any:
        try:
            isolated = _getframe(1).f_globals["__name__"][: len(PREFIX)] == PREFIX
        except (KeyError, TypeError):  # no name, or none that is text
            isolated = False
        return _import if isolated else _names["__import__"]

    @__import__.setter
    def __import__(self, function: Any) -> None:
        _names["__import__"] = function

    @__import__.deleter
    def __import__(self) -> None:
        del _names["__import__"]

    # Elsewhere than in `__main__` it is a dictionary that globals hold as `__builtins__`.
    def __getitem__(self, name: str) -> Any:
        return _names[name]

    def __setitem__(self, name: str, value: Any) -> None:
        _names[name] = value

    def __delitem__(self, name: str) -> None:
        del _names[name]

    def __contains__(self, name: object) -> bool:
        return name in _names

    def __reduce_ex__(self, protocol: object) -> Any:
        """By name: cloudpickle does so for modules, which it knows by their exact class."""
        return importlib.import_module, ("builtins",)


def _import(
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] = (),
    level: int = 0,
) -> ModuleType:
    frame = _getframe(1)
    mount = stringimports.following(name, frame)
    if mount is None:
        return __import__(name, globals, locals, fromlist, level)
    if globals is not frame.f_globals or locals is not globals or fromlist != []:
        return mount.import_(name, globals, locals, fromlist, level)  # by `getattr(builtins, …)`
    if mount.claims(name):
        raise unfollowed(mount, name)
    return __import__(name, globals, locals, fromlist, level)


def install() -> None:
    """Has `builtins` tell who asks for `__import__`; a second call changes nothing."""
    if type(builtins) is ModuleType:
        builtins.__class__ = _Builtins
