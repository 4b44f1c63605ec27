"""What stands in for names of the standard library inside old code, and only there.

`rewrite` points each use of such a name at the module `_splint_….__splint__`, which is made here.
The host's own use of these names costs nothing and changes nothing. What is absent from the table
and ends in `importlib.import_module` is followed by `dynamic`, whoever calls it.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import io
import sys
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from sys import _getframe
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from codevault_importhook.naming import PREFIX, WIDTH
from codevault_importhook.rewrite import STAND_INS, attribute, rewrite

if TYPE_CHECKING:
    from codevault_importhook.mount import Mount

_FUTURES: Final = functools.reduce(
    lambda flags, name: flags | getattr(__import__("__future__"), name).compiler_flag,
    __import__("__future__").all_feature_names,
    0,
)


def module(mount: Mount) -> ModuleType:
    """The module that holds the stand-ins of one mount; each is made when first used."""
    made = ModuleType(f"{mount.name}.{STAND_INS}", "What stands in for standard library names.")
    makers = {attribute(name): make for name, make in table.items()}

    def __getattr__(name: str) -> object:  # noqa: N807 - the protocol's name
        if name not in makers:
            raise AttributeError(name)
        value = makers[name](mount)
        setattr(made, name, value)
        return value

    made.__getattr__ = __getattr__  # type: ignore[method-assign]
    return made


# -- code in strings ----------------------------------------------------------------------------


def _tree(mount: Mount, source: Any, mode: str) -> Any:
    """The rewritten tree of a text that may import; anything else as it is."""
    if isinstance(source, str | bytes | bytearray):
        text = source if isinstance(source, str) else source.decode(errors="replace")
        if "import" in text or "modules" in text:
            try:
                source = ast.parse(text.lstrip(" \t") if mode == "eval" else source, mode=mode)
            except (SyntaxError, ValueError):
                return source  # the builtin says what is wrong
    if isinstance(source, ast.AST):
        rewrite(source, mount.rules, mount.name)
    return source


def _code(mount: Mount, mode: str) -> Callable[[Any], Any]:
    """What `exec` or `eval` gets in place of its first argument."""

    def code(source: Any) -> Any:
        tree = _tree(mount, source, mode)
        if not isinstance(tree, ast.AST):
            return tree
        flags = _getframe(1).f_code.co_flags & _FUTURES
        return compile(tree, "<string>", mode, flags, dont_inherit=True)  # type: ignore[call-overload]

    return code


def _compile(mount: Mount) -> Callable[..., Any]:
    @functools.wraps(compile)
    def compile_(
        source: Any,
        filename: Any,
        mode: str,
        flags: int = 0,
        dont_inherit: bool = False,
        optimize: int = -1,
        **options: Any,
    ) -> Any:
        if not dont_inherit:
            flags |= _getframe(1).f_code.co_flags & _FUTURES
        tree = _tree(mount, source, mode)
        return compile(tree, filename, mode, flags, True, optimize, **options)

    return compile_


# -- modules by name ----------------------------------------------------------------------------


class Modules(MutableMapping[str, ModuleType]):
    """`sys.modules` as the old code knows it: its own names mean its own modules."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount

    def _key(self, key: str, value: object = None) -> str:
        inner = f"{self._mount.name}.{key}"
        if self._mount.inside(key) == inner or inner in sys.modules:
            return inner
        return inner if getattr(value, "__name__", None) == inner else key

    def __getitem__(self, key: str) -> ModuleType:
        try:
            return sys.modules[self._key(key)]
        except KeyError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, value: ModuleType) -> None:
        sys.modules[self._key(key, value)] = value

    def __delitem__(self, key: str) -> None:
        try:
            del sys.modules[self._key(key)]
        except KeyError:
            raise KeyError(key) from None

    def __iter__(self) -> Iterator[str]:
        start = f"{self._mount.name}."
        for name in list(sys.modules):
            if name.startswith(start):
                if name != start + STAND_INS:
                    yield name[len(start) :]
            elif name + "." != start and self._key(name) == name:
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def copy(self) -> dict[str, ModuleType]:
        """As `dict.copy`."""
        return dict(self)


def _by_name(path: str, *parameters: str) -> Callable[[Mount], Callable[..., Any]]:
    """A function of the standard library whose `parameters` name modules."""
    module_name, _, function = path.rpartition(".")

    def make(mount: Mount) -> Callable[..., Any]:
        from inspect import signature

        real: Callable[..., Any] = getattr(importlib.import_module(module_name), function)
        bind = signature(real).bind

        @functools.wraps(real)
        def named(*args: Any, **kwargs: Any) -> Any:
            bound = bind(*args, **kwargs)
            for parameter in parameters:
                if isinstance(value := bound.arguments.get(parameter), str):
                    bound.arguments[parameter] = mount.inside(value)
            return real(*bound.args, **bound.kwargs)

        return named

    return make


def _walk_packages(mount: Mount) -> Callable[..., Iterable[Any]]:
    import pkgutil

    @functools.wraps(pkgutil.walk_packages)
    def walk_packages(path: Any = None, prefix: str = "", onerror: Any = None) -> Iterable[Any]:
        inner = mount.inside(prefix)
        for info in pkgutil.walk_packages(path, inner, onerror):
            yield info if inner == prefix else info._replace(name=info.name[WIDTH + 1 :])

    return walk_packages


def _spec_from_file_location(mount: Mount) -> Callable[..., Any]:
    real = importlib.util.spec_from_file_location

    @functools.wraps(real)
    def spec_from_file_location(name: str, location: Any = None, **options: Any) -> Any:
        path = None if location is None or options.get("loader") else mount.inner(str(location))
        if path is None or path not in mount.source.paths or not path.endswith(".py"):
            return real(name, location, **options)
        full = name if name.startswith(PREFIX) else f"{mount.name}.{name}"
        return mount.spec(full, path, options.get("submodule_search_locations"))

    return spec_from_file_location


# -- pickles ------------------------------------------------------------------------------------


def _unpickler(mount: Mount) -> type:
    import pickle

    class Unpickler(pickle.Unpickler):
        __doc__ = pickle.Unpickler.__doc__
        __module__ = "pickle"

        def find_class(self, module: str, name: str) -> Any:
            return super().find_class(mount.inside(module), name)

    return Unpickler


def _load(mount: Mount) -> Callable[..., Any]:
    unpickler: Any = _unpickler(mount)

    def load(file: Any, **options: Any) -> Any:
        return unpickler(file, **options).load()

    return load


def _loads(mount: Mount) -> Callable[..., Any]:
    load = _load(mount)

    def loads(data: Any, /, **options: Any) -> Any:
        return load(io.BytesIO(data), **options)

    return loads


table: Final[dict[str, Callable[[Mount], object]]] = {
    "builtins.__import__": lambda mount: mount.import_,
    "builtins.compile": _compile,
    "builtins.eval": lambda mount: _code(mount, "eval"),
    "builtins.exec": lambda mount: _code(mount, "exec"),
    "importlib.util.find_spec": _by_name("importlib.util.find_spec", "name", "package"),
    "importlib.util.spec_from_file_location": _spec_from_file_location,
    "pickle.Unpickler": _unpickler,
    "pickle.load": _load,
    "pickle.loads": _loads,
    "pkgutil.extend_path": _by_name("pkgutil.extend_path", "name"),
    "pkgutil.get_data": _by_name("pkgutil.get_data", "package"),
    "pkgutil.walk_packages": _walk_packages,
    "runpy.run_module": _by_name("runpy.run_module", "mod_name"),
    "sys.modules": Modules,
}
"""Dotted name → what makes its stand-in for a mount. Add to it before the first mount."""
