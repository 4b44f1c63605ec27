"""`torch.load` as old code calls it: pickled names of its own classes mean its own classes.

The rest of a process, and old code that hands over a `pickle_module` of its own, is not touched.
"""

from __future__ import annotations

import functools
import pickle
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import codevault_importhook as hook

if TYPE_CHECKING:
    from collections.abc import Callable

    from codevault_importhook import Mount


def stand_in() -> None:
    """Registers the stand-in; it takes effect in code that is mounted from then on."""
    hook.stand_in("torch.load", _load)


def _load(mount: Mount) -> Callable[..., Any]:
    """The `torch.load` of one splint."""
    import torch

    real = torch.load
    own_pickle = _pickle(mount)

    @functools.wraps(real)
    def load(*args: Any, **options: Any) -> Any:
        if len(args) < 3 and options.get("pickle_module") is None:
            if options.get("weights_only") is False:
                return real(*args[:2], **{**options, "pickle_module": own_pickle})
            with torch.serialization.safe_globals(_by_original_name(mount)):
                return real(*args, **options)
        return real(*args, **options)

    return load


def _by_original_name(mount: Mount) -> list[Any]:
    """The splint's classes that the old code has declared safe, under the names in old files."""
    from torch.serialization import get_safe_globals

    start = f"{mount.name}."
    classes = [entry[0] if isinstance(entry, tuple) else entry for entry in get_safe_globals()]
    return [
        (cls, f"{hook.strip(cls.__module__)}.{cls.__qualname__}")
        for cls in classes
        if getattr(cls, "__module__", "").startswith(start)
    ]


def _pickle(mount: Mount) -> Any:
    """What `torch.load` wants of a pickle module."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return super().find_class(mount.inside(module), name)

    def load(file: Any, **options: Any) -> Any:
        return Unpickler(file, **options).load()

    return SimpleNamespace(Unpickler=Unpickler, load=load, __name__="pickle")
