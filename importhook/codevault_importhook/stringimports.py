"""Imports of modules that are named by a string: who asks decides which version it gets.

`importlib.import_module`, also where it was bound to a name long ago, ends in
`importlib._bootstrap._gcd_import`; that is the seam here. Import statements never pass it, so the
host's own imports cost what they cost before. A few modules of the standard library resolve names
without it; each is patched once it is loaded, so that none is loaded for our sake.

Who decides: `resolving(...)` if active; otherwise the stack is walked past library and shared
frames, and the first remaining one decides: of a snapshot, or of the application. With no snapshot
on the stack the host's import runs untouched.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib
import sys
from importlib.machinery import ModuleSpec, PathFinder
from sys import _getframe
from typing import TYPE_CHECKING, Any, Final

from codevault_importhook import registry
from codevault_importhook.libraries import is_library_frame
from codevault_importhook.naming import PREFIX, WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, ModuleType

    from codevault_importhook.mount import Mount

_resolving: Final[contextvars.ContextVar[Mount | None]] = contextvars.ContextVar(
    "codevault_resolving", default=None
)
_bootstrap: Any = importlib._bootstrap  # noqa: SLF001
_real_gcd_import: Final = _bootstrap._gcd_import  # noqa: SLF001


@contextlib.contextmanager
def resolving(mount: Mount) -> Iterator[None]:
    """Lets strings that name own modules mean `mount` in this thread or task, whoever asks."""
    token = _resolving.set(mount)
    try:
        yield
    finally:
        _resolving.reset(token)


def deciding(frame: FrameType | None) -> Mount | None:
    """The mount that decides for a call made from `frame`; None for the host.

    Raises:
        ModuleNotFoundError: Code of a snapshot that was unloaded would decide.
    """
    active = _resolving.get()
    if active is not None:
        return active
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if isinstance(module, str):
            if module.startswith(PREFIX):
                mount = registry.get(module)
                if mount is None:
                    splint = module[:WIDTH]
                    raise ModuleNotFoundError(f"{splint} is not mounted", name=splint)
                return mount
            if _is_application(frame, module):
                return registry.holding(frame.f_code.co_filename)
        frame = frame.f_back
    return None


def _is_application(frame: FrameType, module: str) -> bool:
    """Whether a frame decides for the host: not of a library, or today's twin of an own module."""
    if registry.is_shared(module):
        return False
    return not is_library_frame(frame) or registry.is_own(module)


def following(name: object, frame: FrameType) -> Mount | None:
    """The mount in which `name` is to be found; None if it is the host's."""
    if isinstance(name, str) and name.partition(".")[0] in registry.own_names:
        mount = deciding(frame)
        if mount is not None and mount.rules.owns(name):
            return mount
    return None


def _gcd_import(name: str, package: str | None = None, level: int = 0) -> ModuleType:
    asked = package if level else name
    if type(asked) is not str or asked.partition(".")[0] not in registry.own_names:
        return _real_gcd_import(name, package, level)  # type: ignore[no-any-return]
    mount = following(asked, _getframe(1))
    if mount is None:
        return _real_gcd_import(name, package, level)  # type: ignore[no-any-return]
    with mount.original_names():
        if level:
            return _real_gcd_import(name, mount.inside(str(package)), level)  # type: ignore[no-any-return]
        return _real_gcd_import(mount.inside(name))  # type: ignore[no-any-return]


@functools.wraps(__import__)
def _import(name: str, *args: Any, **kwargs: Any) -> ModuleType:
    mount = following(name, _getframe(1))
    return (__import__ if mount is None else mount.import_)(name, *args, **kwargs)


# -- modules of the standard library that are patched when they are loaded ------------------------


def _patch_pydoc(pydoc: Any) -> None:
    pydoc.__import__ = _import  # `pydoc.locate` calls it; import statements do not look here


def _patch_logging_config(config: Any) -> None:
    config.BaseConfigurator.importer = staticmethod(_import)
    config.__import__ = _import  # what resolves the class of a formatter calls it


def _patch_pickle(pickle: Any) -> None:
    """The unpickler written in Python, from which joblib, pandas and dill derive theirs."""
    real = pickle._Unpickler.find_class  # noqa: SLF001

    @functools.wraps(real)
    def find_class(self: Any, module: str, name: str) -> Any:
        mount = following(module, _getframe(1))
        return real(self, module if mount is None else mount.inside(module), name)

    pickle._Unpickler.find_class = find_class  # noqa: SLF001


def _patch_yaml(constructor: Any) -> None:
    """PyYAML's tags that name Python objects; it imports them by `__import__`."""
    owner = constructor.FullConstructor
    for way in ("find_python_module", "find_python_name"):
        setattr(owner, way, _inside(getattr(owner, way)))


def _inside(real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def find(self: Any, name: Any, *args: Any, **options: Any) -> Any:
        mount = following(name, _getframe(1))
        return real(self, name if mount is None else mount.inside(name), *args, **options)

    return find


def _patch_pickle_user(module: Any) -> None:
    """A library that unpickles in C for its callers: old code gets its own classes from it."""
    import pickle
    from types import ModuleType

    followed = ModuleType("pickle", pickle.__doc__)
    followed.__dict__.update(vars(pickle))

    def _mine(frame: FrameType) -> Any:
        mount = deciding(frame) if registry.own_names else None
        return pickle if mount is None else mount.pickle

    @functools.wraps(pickle.load)
    def load(*args: Any, **options: Any) -> Any:
        return _mine(_getframe(1)).load(*args, **options)

    @functools.wraps(pickle.loads)
    def loads(*args: Any, **options: Any) -> Any:
        return _mine(_getframe(1)).loads(*args, **options)

    def unpickler(*args: Any, **options: Any) -> Any:
        return _mine(_getframe(1)).Unpickler(*args, **options)

    followed.__dict__.update(load=load, loads=loads)
    if "pickle" in vars(module):
        module.pickle = followed
    elif "Unpickler" in vars(module):
        module.Unpickler = unpickler


_patches: Final[dict[str, Callable[[Any], None]]] = {
    "logging.config": _patch_logging_config,
    "numpy.lib._format_impl": _patch_pickle_user,
    "numpy.lib._npyio_impl": _patch_pickle_user,
    "numpy.lib.format": _patch_pickle_user,  # before numpy 2
    "numpy.lib.npyio": _patch_pickle_user,
    "pickle": _patch_pickle,
    "pydoc": _patch_pydoc,
    "shelve": _patch_pickle_user,
    "yaml.constructor": _patch_yaml,
}
waiting: Final[dict[str, Callable[[Any], None]]] = {}
"""Patches of modules that are not loaded yet, by the module's name."""


def when_loaded(name: str, patch: Callable[[Any], None]) -> None:
    """Has `patch` called with a module right after it was loaded; now, if it is loaded.

    Modules that another finder than the host's path finder finds are never patched.
    """
    module = sys.modules.get(name)
    if module is not None:
        patch(module)
        return
    earlier = waiting.get(name)

    def both(module: Any) -> None:
        for each in (earlier, patch):
            if each is not None:
                each(module)

    waiting[name] = both


def spec_with_patch(fullname: str, path: Any) -> ModuleSpec | None:
    """The host's spec of a module that waits to be patched."""
    spec = PathFinder.find_spec(fullname, path)
    if spec is None or spec.loader is None:
        return None
    loader: Any = spec.loader
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        del loader.exec_module
        execute(module)
        patch = waiting.pop(fullname, None)
        if patch is not None:
            patch(module)

    loader.exec_module = exec_module
    return spec


def install() -> None:
    """Puts the seam and the patches in; a second call changes nothing."""
    if _bootstrap._gcd_import is not _gcd_import:  # noqa: SLF001
        _bootstrap._gcd_import = _gcd_import  # noqa: SLF001
        for name, patch in _patches.items():
            when_loaded(name, patch)
