"""`torch.load`, `torch.save` and cloudpickle as old code calls them: its classes, original names.

The rest of a process, and old code that hands over a `pickle_module` of its own, is not touched.
"""

from __future__ import annotations

import contextlib
import functools
import pickle
from typing import TYPE_CHECKING, Any

import codevault_importhook as hook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from codevault_importhook import Mount


def stand_in() -> None:
    """Registers the stand-ins; they take effect in code that is mounted from then on."""
    hook.stand_in("torch.load", _load)
    hook.stand_in("torch.save", _save)
    hook.stand_in("torch.serialization.load", _load)
    hook.stand_in("torch.serialization.save", _save)
    hook.stand_in("cloudpickle.load", lambda mount: mount.pickle.load)
    hook.stand_in("cloudpickle.loads", lambda mount: mount.pickle.loads)
    hook.stand_in("cloudpickle.dump", _cloud_dump)
    hook.stand_in("cloudpickle.dumps", _cloud_dumps)


def _cloud_dumps(mount: Mount) -> Callable[..., bytes]:
    import cloudpickle

    @functools.wraps(cloudpickle.dumps)
    def dumps(*args: Any, **options: Any) -> bytes:
        return hook.with_original_names(cloudpickle.dumps(*args, **options), mount.name)

    return dumps


def _cloud_dump(mount: Mount) -> Callable[..., None]:
    import cloudpickle

    dumps = _cloud_dumps(mount)

    @functools.wraps(cloudpickle.dump)
    def dump(obj: Any, file: Any, *args: Any, **options: Any) -> None:
        file.write(dumps(obj, *args, **options))

    return dump


def _save(mount: Mount) -> Callable[..., None]:
    """The `torch.save` of one splint."""
    import torch

    real = torch.save

    @functools.wraps(real)
    def save(*args: Any, **options: Any) -> None:
        if _pickle_module(args, options) in (None, pickle):
            if len(args) > 2:
                args = (*args[:2], mount.pickle, *args[3:])
            else:
                options["pickle_module"] = mount.pickle
        real(*args, **options)

    return save


def _load(mount: Mount) -> Callable[..., Any]:
    """The `torch.load` of one splint."""
    import torch

    real = torch.load

    @functools.wraps(real)
    def load(*args: Any, **options: Any) -> Any:
        given = _pickle_module(args, options)
        if given is pickle or (given is None and options.get("weights_only") is False):
            return real(*args[:2], **{**options, "pickle_module": mount.pickle})
        with _declared(mount) if given is None else contextlib.nullcontext():
            return real(*args, **options)

    return load


def _pickle_module(args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return args[2] if len(args) > 2 else options.get("pickle_module")


@contextlib.contextmanager
def _declared(mount: Mount) -> Iterator[None]:
    """The splint's classes that the old code has declared safe, under the names in old files.

    What others have declared under one of these names is taken out meanwhile.
    """
    from torch import _weights_only_unpickler as unpickler
    from torch.serialization import get_safe_globals, safe_globals

    entries = [_declaration(entry) for entry in get_safe_globals()]
    start = f"{mount.name}."
    classes = [thing for _, thing, _ in entries if _module(thing).startswith(start)]
    own = {f"{hook.strip(_module(cls))}.{cls.__qualname__}": cls for cls in classes}
    others = [entry for entry, thing, name in entries if own.get(name, thing) is not thing]
    unpickler._remove_safe_globals(others)  # noqa: SLF001
    try:
        with safe_globals([(cls, name) for name, cls in own.items()]):
            yield
    finally:
        unpickler._add_safe_globals(others)  # noqa: SLF001


def _declaration(entry: Any) -> tuple[Any, Any, str]:
    """An entry, what it declares safe, and the name in files for which it does."""
    if isinstance(entry, tuple):
        return entry, *entry
    return entry, entry, f"{_module(entry)}.{getattr(entry, '__qualname__', '')}"


def _module(thing: Any) -> str:
    return str(getattr(thing, "__module__", ""))
