"""Unpickles an old file with its names meaning the old code; runs only in a process of its own."""

from __future__ import annotations

import io
import os
import pickle
import warnings
import zipfile
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from codevault import fileforms
from codevault.convert.listing import SB3_KEYS, blob, data_of, today
from codevault.convert.names import RENAMED, of_torch
from codevault.errors import ConvertError
from codevault.oldforms import OldFile, member

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from codevault.splint import Splint


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
    names = {**of_torch(), **known}

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


def _is_torch(old: OldFile) -> bool:
    """Whether torch.save wrote it; a bare pickle may come from its older releases as well."""
    return old.form != fileforms.PICKLE or _is_early(old)


def _is_early(old: OldFile) -> bool:
    """Whether a torch before 1.6 wrote it, or a later one in the way of those."""
    if old.form != fileforms.PICKLE:
        return False
    with open(old.path, "rb") as file:
        return file.read(16).startswith(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P")


def _load_torch(old: OldFile, module: ModuleType) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sources in the file that differ from the snapshot's
        source = _source(old)
        return torch.load(source, map_location="cpu", weights_only=False, pickle_module=module)


def _source(old: OldFile) -> Any:
    if old.form == fileforms.SB3:
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
            return super().find_class(module, RENAMED.get(name, name))

    return _module(Unpickler)


def _module(unpickler: Any) -> ModuleType:
    """A `pickle` with that unpickler, as torch.load takes it."""
    module = ModuleType("pickle")

    def load(file: Any, **options: Any) -> Any:
        return unpickler(file, **options).load()

    module.__dict__.update(vars(pickle), Unpickler=unpickler, load=load)
    return module
