"""The files in Metta's `.mpt` archives and `policy_spec.json` bundles; bare safetensors."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from codevault import fileforms, tensorfile
from codevault.archive import RESTORE
from codevault.errors import CheckpointError
from codevault.manifest import plain_json
from codevault.oldforms.recipe import Recipe, from_spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

_TEXT: Final = 16 << 20
_WEIGHTS: Final = "weights.safetensors"


@dataclass(frozen=True, slots=True)
class OldFile:
    """An old file that was recognised.

    Attributes:
        path: A file, or the folder of a bundle.
        form: What it is: one of the texts in `fileforms`.
        recipe: How its policy is built, as far as it says.
        weights: The member with the weights; None where the file is the weights.
        setup: A script that wants to run before it is loaded, or None.
    """

    path: str
    form: str
    recipe: Recipe | None
    weights: str | None
    setup: str | None = None

    @property
    def pickled(self) -> bool:
        """Whether its weights are in a pickle."""
        if self.weights is None:
            return self.form != fileforms.SAFETENSORS
        return not self.weights.endswith(".safetensors")


def read(path: str, form: str) -> OldFile:
    """Reads what an old file says of its policy; no tensors yet, and no pickles at all.

    Raises:
        CheckpointError: It is damaged, or lacks what its form needs.
        LegacyFormError: Nothing can be read of this form.
    """
    if form == fileforms.TORCHSCRIPT:
        raise fileforms.legacy(path, form)
    if form == fileforms.METTA:
        text = member(path, "modelarchitecture.txt", _TEXT).decode("utf-8", "replace")
        return OldFile(path, form, from_spec(text, path), _WEIGHTS)
    if form == fileforms.BUNDLE:
        return _bundle(path)
    if form == fileforms.METTA_PICKLE:
        return OldFile(path, form, None, "policy.pt")
    return OldFile(path, form, None, None)


def load_weights(old: OldFile) -> dict[str, torch.Tensor]:
    """The tensors of a file that has them as safetensors.

    Raises:
        LegacyFormError: They are in a pickle.
        CheckpointError: They are damaged.
    """
    if old.pickled:
        raise fileforms.legacy(old.path, old.form)
    if old.weights is None:
        with open(old.path, "rb") as file:
            data = bytearray(file.read())
    else:
        data = bytearray(member(old.path, old.weights, None))
    return tensorfile.parse(data, 0, len(data), old.path)[0]


def member(path: str, name: str, limit: int | None) -> bytes:
    """One file of an archive or folder.

    Args:
        path: The archive or folder.
        name: The file's name; in an archive it may stand in one folder.
        limit: The most bytes that it may have; None for as many as a member may unpack to.

    Raises:
        CheckpointError: There is none, it is too large, or it is damaged.
    """
    try:
        if os.path.isdir(path):
            full = os.path.realpath(os.path.join(path, name))
            if not full.startswith(os.path.realpath(path) + os.sep):
                raise ValueError(f"{name!r} leads out of the folder")
            with open(full, "rb") as file:
                data = file.read(-1 if limit is None else limit + 1)
                size = len(data)
        else:
            with zipfile.ZipFile(path) as archive:
                entry = _entry(archive, name)
                size = entry.file_size
                most = limit or max(1 << 30, 16 * entry.compress_size)
                data = archive.read(entry) if size <= most else b""
                limit = most
        if limit is not None and size > limit:
            raise ValueError(f"it has {size:,} bytes, and at most {limit:,} are read")
        return data
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, NotImplementedError, EOFError) as e:
        raise CheckpointError(f"{name} of {path} cannot be read", str(e), RESTORE) from None


def _entry(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    found = [e for e in archive.infolist() if e.filename == name or e.filename.endswith(f"/{name}")]
    if not found:
        raise ValueError("there is none")
    return min(found, key=lambda entry: len(entry.filename))


def _bundle(path: str) -> OldFile:
    folder = path
    if os.path.basename(path) == "policy_spec.json":
        folder = os.path.dirname(path) or "."
    try:
        said: Any = plain_json(member(folder, "policy_spec.json", _TEXT))
        recipe = _recipe(said, folder)
        data, setup = said.get("data_path"), said.get("setup_script")
        if not all(text is None or isinstance(text, str) for text in (data, setup)):
            raise ValueError("data_path and setup_script are texts")
    except CheckpointError:
        raise
    except (ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} has a damaged policy_spec.json", str(error), RESTORE
        ) from None
    return OldFile(folder, fileforms.BUNDLE, recipe, data or _WEIGHTS, setup or None)


def _recipe(said: Mapping[str, Any], where: str) -> Recipe:
    class_path, arguments = said.get("class_path"), said.get("init_kwargs") or {}
    if not isinstance(class_path, str) or not isinstance(arguments, dict):
        raise ValueError("class_path is a text, and init_kwargs a mapping")
    spec = arguments.get("architecture_spec")
    # The class named around a spec only hands it on: what the spec describes is the policy.
    return from_spec(spec, where) if isinstance(spec, str) else Recipe(class_path, arguments)
