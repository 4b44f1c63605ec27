"""What stands in for names of the standard library inside old code, and only there.

`rewrite` points each use of such a name at the module `_splint_….__splint__`, which is made here.
The host's own use of these names costs nothing and changes nothing. What is absent from the table
and ends in `importlib.import_module` is followed by `dynamic`, whoever calls it.
"""

from __future__ import annotations
import __future__

import ast
import copy
import functools
import importlib.machinery
import importlib.util
import os
from sys import _getframe
from types import CodeType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from codevault_importhook import specs
from codevault_importhook.modules_view import Modules
from codevault_importhook.naming import PREFIX, WIDTH, strip
from codevault_importhook.origin import is_library_file
from codevault_importhook.rewrite import (
    NAMED,
    STAND_INS,
    attribute,
    compile_module,
    compile_tree,
    rewrite,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from codevault_importhook.mount import Mount

_FUTURES: Final = sum(getattr(__future__, f).compiler_flag for f in __future__.all_feature_names)


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
        if "import" in text or "module" in text:
            try:
                source = ast.parse(text.lstrip(" \t") if mode == "eval" else source, mode=mode)
            except (SyntaxError, ValueError):
                return source  # the builtin says what is wrong
    elif isinstance(source, ast.AST):
        source = copy.deepcopy(source)
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
        return compile_tree(tree, "<string>", mode, flags)

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
        if isinstance(tree, ast.AST) and not isinstance(source, ast.AST) and not options:
            return compile_tree(tree, filename, mode, flags, optimize)
        return compile(tree, filename, mode, flags, True, optimize, **options)

    return compile_


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


# -- names in texts and pickles -----------------------------------------------------------------


def _of_pickle(name: str) -> Callable[[Mount], object]:
    return lambda mount: getattr(mount.pickle, name)


def _named(mount: Mount) -> Callable[[Any], SimpleNamespace]:
    def named(value: Any) -> SimpleNamespace:
        """The `__module__` of `value` as it goes into a text."""
        module = value.__module__
        return SimpleNamespace(__module__=strip(module) if isinstance(module, str) else module)

    return named


def stand_in(name: str, make: Callable[[Mount], object]) -> None:
    """Lets something stand in for a name in the old code of all mounts made from now on.

    Args:
        name: A dotted name as old code reads it after an import, such as `torch.load`.
        make: Gives, for a mount, what its code gets; called when first used.
    """
    table[name] = make


table: Final[dict[str, Callable[[Mount], object]]] = {
    "builtins.__import__": lambda mount: mount.import_,
    "builtins.compile": _compile,
    "builtins.eval": lambda mount: _code(mount, "eval"),
    "builtins.exec": lambda mount: _code(mount, "exec"),
    "importlib.machinery.SourceFileLoader": _source_file_loader,
    "importlib.util.find_spec": _by_name("importlib.util.find_spec", "name", "package"),
    "importlib.util.spec_from_file_location": _spec_from_file_location,
    NAMED: _named,
    "pickle.Pickler": _of_pickle("Pickler"),
    "pickle.Unpickler": _of_pickle("Unpickler"),
    "pickle.dump": _of_pickle("dump"),
    "pickle.dumps": _of_pickle("dumps"),
    "pickle.load": _of_pickle("load"),
    "pickle.loads": _of_pickle("loads"),
    "pkgutil.extend_path": _by_name("pkgutil.extend_path", "name"),
    "pkgutil.get_data": _by_name("pkgutil.get_data", "package"),
    "pkgutil.walk_packages": _walk_packages,
    "runpy.run_module": _by_name("runpy.run_module", "mod_name"),
    "runpy.run_path": _run_path,
    "sys.modules": Modules,
}
"""Dotted name → what makes its stand-in for a mount."""
