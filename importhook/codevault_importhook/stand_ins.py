"""What stands in for names of the standard library inside old code, and only there.

`rewrite` points each use of such a name at the module `_splint_….__splint__`, which is made here.
The host's own use of these names costs nothing and changes nothing. What is absent from the table
and ends in `importlib.import_module` is followed by `stringimports`, whoever calls it.
"""

from __future__ import annotations

import builtins
import functools
import importlib.machinery
import importlib.util
import os
import sys
from operator import attrgetter
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from codevault_importhook import specs
from codevault_importhook.execcode import code_of, compile_of, function_of
from codevault_importhook.libraries import is_library_file
from codevault_importhook.modules_view import Modules
from codevault_importhook.naming import PREFIX, WIDTH, strip
from codevault_importhook.rewrite import HANDED, NAMED, STAND_INS, attribute, compile_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from codevault_importhook.mount import Mount


def module(mount: Mount) -> ModuleType:
    """The module that holds the stand-ins of one mount; each is made when first used."""
    made = ModuleType(f"{mount.name}.{STAND_INS}", "What stands in for standard library names.")
    known = table.copy()
    makers: dict[str, Callable[[Mount], object]] = {}

    def __getattr__(name: str) -> object:  # noqa: N807 - the protocol's name
        if not makers:  # most old code needs none
            makers.update((attribute(name), make) for name, make in known.items())
        if name not in makers:
            raise AttributeError(name)
        value = makers[name](mount)
        setattr(made, name, value)
        return value

    made.__getattr__ = __getattr__  # type: ignore[method-assign]
    return made


# -- modules by name ----------------------------------------------------------------------------


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


_METADATA: Final = ("distribution", "files", "metadata", "requires", "version")


def _of_distribution(name: str) -> Callable[[Mount], Callable[..., Any]]:
    """What asks for an installed distribution, often by `__package__`: these have no prefix."""

    def make(mount: Mount) -> Callable[..., Any]:
        import importlib.metadata as metadata

        @functools.wraps(getattr(metadata, name))
        def named(distribution_name: Any) -> Any:
            # Looked up late: tests replace it there.
            return getattr(metadata, name)(strip(distribution_name))

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
        if location is None or options.get("loader") or not str(location).endswith(".py"):
            return real(name, location, **options)
        path = mount.inner(str(location))
        if path is None:  # what old code wrote, say
            loader = _source_file_loader(mount)(name, os.fspath(location))
            return real(name, location, **{**options, "loader": loader})
        full = name if name.startswith(PREFIX) else f"{mount.name}.{name}"
        return specs.of_file(mount, full, path, options.get("submodule_search_locations"))

    return spec_from_file_location


def _load_source(mount: Mount) -> Callable[..., ModuleType]:
    make = _spec_from_file_location(mount)

    def load_source(name: str, pathname: Any, file: Any = None) -> ModuleType:
        """As `imp.load_source`, which Python 3.12 took away."""
        spec = make(name, pathname)
        module = sys.modules.get(spec.name) or importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return load_source


def _source_file_loader(mount: Mount) -> type:
    class SourceFileLoader(importlib.machinery.SourceFileLoader):
        __doc__ = importlib.machinery.SourceFileLoader.__doc__
        __module__ = "importlib.machinery"

        def get_code(self, fullname: str) -> CodeType | None:
            path = mount.inner(self.path)
            if path is not None:
                return mount.code(path)
            if is_library_file(self.path):
                return super().get_code(fullname)
            text = self.get_data(self.path)
            return compile_module(text, self.path, mount.rules, mount.name)

    return SourceFileLoader


def _run_path(mount: Mount) -> Callable[..., Any]:
    import runpy

    @functools.wraps(runpy.run_path)
    def run_path(path_name: Any, init_globals: Any = None, run_name: Any = None) -> Any:
        path = mount.inner(os.fspath(path_name))
        if path is None:
            return runpy.run_path(path_name, init_globals, run_name)
        space = {**(init_globals or {}), "__name__": run_name or "<run_path>"}
        space |= {"__file__": path_name, "__package__": "", "__spec__": None, "__loader__": None}
        exec(mount.code(path), space)  # noqa: S102
        return space

    return run_path


_PICKLE: Final = ("Pickler", "Unpickler", "dump", "dumps", "load", "loads")


def _of_pickle(name: str) -> Callable[[Mount], object]:
    return lambda mount: getattr(mount.pickle, name)


def _named(mount: Mount) -> Callable[[Any], Any]:
    def named(module: Any) -> Any:
        """The `__module__` of something as it goes into a text."""
        return strip(module) if isinstance(module, str) else module

    return named


def _handed(mount: Mount) -> Callable[[Any, str], Any]:
    def handed(value: Any, name: str) -> Any:
        """`name`, of a module that `value` is or is only called like."""
        top, _, attributes = name.partition(".")
        if value is sys.modules.get(top):
            return getattr(sys.modules[f"{mount.name}.{STAND_INS}"], attribute(name))
        return attrgetter(attributes)(value)

    return handed


def stand_in(name: str, make: Callable[[Mount], object]) -> None:
    """Lets something stand in for a name in the old code of all mounts made from now on.

    Args:
        name: A dotted name as old code reads it after an import, such as `torch.load`.
        make: Gives, for a mount, what its code gets; called when first used.
    """
    table[name] = make


def names(own: frozenset[str], is_host: Callable[[str], bool]) -> frozenset[str]:
    """What has a stand-in in the code of one mount: nothing of a library that its tree brings.

    Args:
        own: The top-level names of the tree.
        is_host: Whether one of them is the host's all the same.
    """
    tops = {name.partition(".")[0] for name in table}
    brought = {top for top in tops & own if not is_host(top)}
    if not brought:
        return frozenset(table)
    return frozenset(name for name in table if name.partition(".")[0] not in brought)


table: Final[dict[str, Callable[[Mount], object]]] = {
    "builtins.__builtins__": lambda mount: vars(builtins),
    "builtins.__import__": lambda mount: mount.import_,
    "builtins.compile": compile_of,
    "builtins.eval": lambda mount: code_of(mount, "eval"),
    "builtins.exec": lambda mount: code_of(mount, "exec"),
    "imp.load_source": _load_source,
    "importlib.machinery.SourceFileLoader": _source_file_loader,
    **{f"importlib.metadata.{name}": _of_distribution(name) for name in _METADATA},
    "importlib.util.find_spec": _by_name("importlib.util.find_spec", "name", "package"),
    "importlib.util.spec_from_file_location": _spec_from_file_location,
    NAMED: _named,
    HANDED: _handed,
    "object.eval": lambda mount: function_of(mount, eval),
    "object.exec": lambda mount: function_of(mount, exec),
    **{
        f"{module}.{name}": _of_pickle(name) for module in ("pickle", "_pickle") for name in _PICKLE
    },
    "pkgutil.extend_path": _by_name("pkgutil.extend_path", "name"),
    "pkgutil.find_loader": _by_name("pkgutil.find_loader", "fullname"),
    "pkgutil.get_data": _by_name("pkgutil.get_data", "package"),
    "pkgutil.get_loader": _by_name("pkgutil.get_loader", "module_or_name"),
    "pkgutil.walk_packages": _walk_packages,
    "runpy.run_module": _by_name("runpy.run_module", "mod_name"),
    "runpy.run_path": _run_path,
    "sys.modules": Modules,
}
"""Dotted name → what makes its stand-in for a mount."""
