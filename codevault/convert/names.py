"""Which names of an old file may be looked up without the full unpickler, and what they mean."""

from __future__ import annotations

import importlib
import io
from typing import TYPE_CHECKING, Any, Final

import torch

from codevault.errors import CodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codevault.splint import Splint

_NUMPY: Final = (
    "dtype",
    "ndarray",
    "core.multiarray._reconstruct",
    "core.multiarray.scalar",
    "core.numeric._frombuffer",
    "_core.multiarray._reconstruct",
    "_core.multiarray.scalar",
    "_core.numeric._frombuffer",
    "random._pickle.__generator_ctor",
    "random._pickle.__bit_generator_ctor",
    "random._pcg64.PCG64",
    "random.bit_generator.SeedSequence",
    "random.bit_generator.__pyx_unpickle_SeedSequence",
)
_PLAIN: Final = (
    "builtins.set",
    "builtins.frozenset",
    "builtins.slice",
    "builtins.range",
    "collections.deque",
    "pathlib.PosixPath",
)
_KINDS: Final = (torch.nn.Module, torch.optim.Optimizer)
RENAMED: Final = {"_LinearWithBias": "NonDynamicallyQuantizableLinear"}
"""Modules that torch renamed, in the same file."""
_LIBRARIES: Final = ("stable_baselines3.", "sb3_contrib.")
_SPACES: Final = ("gymnasium.spaces.", "gym.spaces.")


def permitted(names: Sequence[str], splint: Splint) -> dict[str, Any]:
    """What the restricted unpickler may look up for these names, besides what torch lets it.

    These are classes that the old code defines itself, torch's modules, and the parts of arrays and
    spaces. Functions are not: the file would choose what they are called with.
    """
    found: dict[str, Any] = {}
    for name in names:
        thing = _known(name, splint)
        if thing is not None:
            found[name] = thing
    if "numpy.dtype" in found:
        # torch asks for the class of a dtype as well, which stands in no pickle.
        from numpy import dtypes

        found |= {f"numpy.dtypes.{name}": getattr(dtypes, name) for name in dtypes.__all__}
    return found


def refused(names: Sequence[str], known: Mapping[str, Any]) -> list[str]:
    """Those names that the restricted unpickler does not look up."""
    return [name for name in names if name not in known and name not in of_torch()]


def lost(names: Sequence[str], splint: Splint) -> list[str]:
    """Those names that the old code should have, by their first part, and does not."""
    found = []
    for name in names:
        try:
            splint.import_module(name.partition(".")[0])
        except (CodeError, ModuleNotFoundError):
            continue
        try:
            splint.load_symbol(name)
        except (CodeError, ModuleNotFoundError):
            found.append(name)
    return found


def _known(name: str, splint: Splint) -> Any:
    if name in _PLAIN or name.startswith(("numpy.", *_SPACES)):
        return _library(name)
    if name == "torch.storage._load_from_bytes":
        return _storage
    if name.startswith("torch."):
        return _module_class(name)
    try:
        thing = splint.load_symbol(name)
    except (CodeError, ModuleNotFoundError):
        return _module_class(name) if name.startswith(_LIBRARIES) else None
    own = isinstance(thing, type) and splint.defines(thing.__module__)
    return thing if own else None


def _module_class(name: str) -> Any:
    """A library's class of modules or optimizers; None for whatever else has that name."""
    thing = _library(name)
    return thing if isinstance(thing, type) and issubclass(thing, _KINDS) else None


def _storage(data: bytes) -> Any:
    """A storage inside a plain pickle; torch's own function would run what it says."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _library(name: str) -> Any:
    """An object of torch, numpy, gymnasium or the standard library; None if there is none."""
    if name.startswith("gym.spaces."):
        name = f"gymnasium.{name.removeprefix('gym.')}"
    inner = name.removeprefix("numpy.")
    if inner != name and inner not in _NUMPY and not inner.startswith("dtypes."):
        return None
    module, _, attribute = name.replace("numpy.core.", "numpy._core.").rpartition(".")
    try:
        return getattr(importlib.import_module(module), RENAMED.get(attribute, attribute))
    except (ImportError, AttributeError):
        return None


def of_torch() -> dict[str, Any]:
    """What torch's own restricted unpickler always looks up."""
    from torch import _weights_only_unpickler as unpickler

    names: dict[str, Any] = unpickler._get_allowed_globals()  # noqa: SLF001
    return names
