"""Unpickles an old file with its names meaning the old code; runs only in a process of its own."""

from __future__ import annotations

import io
import os
import pickle
import warnings
import zipfile
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import torch

from codevault import forms
from codevault.convert.listing import SB3_KEYS, blob, data_of, today
from codevault.errors import CodeError, ConvertError
from codevault.oldforms import OldFile, member

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
    return found


def refused(names: Sequence[str], known: Mapping[str, Any]) -> list[str]:
    """Those names that the restricted unpickler does not look up."""
    return [name for name in names if name not in known and name not in _of_torch()]


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


def load(old: OldFile, splint: Splint, known: Mapping[str, Any]) -> Any:
    """The object in a file, by the restricted unpickler.

    Raises:
        pickle.UnpicklingError: It needs a name that is not known.
    """
    if _is_torch(old):
        if _is_early(old):  # torch's own restricted unpickler knows no modules in these
            return _load_torch(old, _module(_restricted(known)))
        with torch.serialization.safe_globals([(thing, name) for name, thing in known.items()]):
            return torch.load(_source(old), map_location="cpu", weights_only=True)
    with open(old.path, "rb") as file, splint.resolving():
        return restricted(file, known)


def load_fully(old: OldFile, splint: Splint, names: Sequence[str]) -> Any:
    """The object in a file, by the full unpickler; only names that were listed are looked up."""
    module = _listed(splint, frozenset(names))
    with splint.resolving():
        if _is_torch(old):
            return _load_torch(old, module)
        with open(old.path, "rb") as file:
            return module.load(file)


def restricted(file: Any, known: Mapping[str, Any]) -> Any:
    """Reads one plain pickle whose names are all known."""
    return _restricted(known)(file).load()


def _restricted(known: Mapping[str, Any]) -> type[pickle.Unpickler]:
    names = {**_of_torch(), **known}

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            thing = names.get(f"{module}.{name}", names.get(today(module, name, 2)))
            if thing is None:
                why = f"{module}.{name} is neither a class of the old code nor plain data"
                raise pickle.UnpicklingError(why)
            return thing

    return Unpickler


def spaces(old: OldFile, read: Callable[[Any], Any]) -> dict[str, Any]:
    """What a Stable-Baselines3 zip says of its policy: class, spaces and arguments.

    Args:
        old: The file.
        read: Reads one plain pickle.
    """
    data = data_of(old)
    said = {key: data.get(key) for key in SB3_KEYS}
    return {
        key: read(io.BytesIO(blob(value, old.path)))
        if isinstance(value, dict) and ":serialized:" in value
        else value
        for key, value in said.items()
    }


def reader(splint: Splint, known: Mapping[str, Any], names: Sequence[str] | None) -> Any:
    """Reads one plain pickle: restricted, or fully where the listed names are given."""
    if names is None:
        return lambda file: restricted(file, known)
    return _listed(splint, frozenset(names)).load


def _known(name: str, splint: Splint) -> Any:
    if name in _PLAIN or name.startswith(("numpy.", *_SPACES)):
        return _library(name)
    if name == "torch.storage._load_from_bytes":
        return _storage
    if name.startswith("torch."):
        thing = _library(name)
        return thing if isinstance(thing, type) and issubclass(thing, _KINDS) else None
    try:
        thing = splint.load_symbol(name)
    except (CodeError, ModuleNotFoundError):
        return None
    own = isinstance(thing, type) and splint.defines(thing.__module__)
    return thing if own else None


def _storage(data: bytes) -> Any:
    """A storage inside a plain pickle; torch's own function would run what it says."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _library(name: str) -> Any:
    """An object of torch, numpy, gymnasium or the standard library; None if there is none."""
    import importlib

    if name.startswith("gym.spaces."):
        name = f"gymnasium.{name.removeprefix('gym.')}"
    inner = name.removeprefix("numpy.")
    if inner != name and inner not in _NUMPY and not inner.startswith("dtypes."):
        return None
    module, _, attribute = name.replace("numpy.core.", "numpy._core.").rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        return None


def _of_torch() -> dict[str, Any]:
    """What torch's own restricted unpickler always looks up."""
    from torch import _weights_only_unpickler as unpickler

    names: dict[str, Any] = unpickler._get_allowed_globals()  # noqa: SLF001
    return names


def _is_torch(old: OldFile) -> bool:
    """Whether torch.save wrote it; a bare pickle may come from its older releases as well."""
    return old.form != forms.PICKLE or _is_early(old)


def _is_early(old: OldFile) -> bool:
    """Whether a torch before 1.6 wrote it, or a later one in the way of those."""
    if old.form != forms.PICKLE:
        return False
    with open(old.path, "rb") as file:
        return file.read(16).startswith(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P")


def _load_torch(old: OldFile, module: ModuleType) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sources in the file that differ from the snapshot's
        source = _source(old)
        return torch.load(source, map_location="cpu", weights_only=False, pickle_module=module)


def _source(old: OldFile) -> Any:
    if old.form == forms.SB3:
        return io.BytesIO(member(old.path, "policy.pth", None))
    if old.weights is None:
        return old.path
    if os.path.isdir(old.path) or zipfile.is_zipfile(old.path):
        return io.BytesIO(member(old.path, old.weights, None))
    raise ConvertError(f"{old.path} is no archive")


def _listed(splint: Splint, names: frozenset[str]) -> ModuleType:
    """The splint's `pickle`, that looks up nothing that was not listed before."""
    base: Any = splint.pickle.Unpickler

    class Unpickler(base):  # type: ignore[misc]
        def find_class(self, module: str, name: str) -> Any:
            if not names & {f"{module}.{name}", today(module, name, 2)}:
                raise pickle.UnpicklingError(f"{module}.{name} was not listed")
            return super().find_class(module, name)

    return _module(Unpickler)


def _module(unpickler: Any) -> ModuleType:
    """A `pickle` with that unpickler, as torch.load takes it."""
    module = ModuleType("pickle")

    def load(file: Any, **options: Any) -> Any:
        return unpickler(file, **options).load()

    module.__dict__.update(vars(pickle), Unpickler=unpickler, load=load)
    return module
