"""What an old file tells of the code that wrote it, read without running anything."""

from __future__ import annotations

import calendar
import json
import os
import re
import struct
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from codevault import fileforms
from codevault.convert import listing
from codevault.errors import CheckpointError
from codevault.identify.inertpickles import Hollow, fields_of, read, shape_of, walk
from codevault.oldforms import member

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from codevault.oldforms import OldFile

_ZIP_EPOCH: Final = 1981
"""What writes zip files without a clock gives their members a date before."""
_HEADER: Final = 100 << 20
_VERSION = re.compile(
    r"^-?\s*([A-Za-z][A-Za-z0-9_.-]*):\s*v?(\d[A-Za-z0-9.+!-]*)\s*$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Traces:
    """What an old file tells.

    Attributes:
        form: What it is, in words.
        names: What its pickles look up: module and qualified name.
        attributes: For each class of which it holds instances, the attributes' names of each.
        keys: Shape of each weight, by its key; of several state_dicts together.
        entries: Keys of the mapping that it holds, such as `model_state_dict`.
        described: Class and names of the arguments by which it says that its policy is built.
        versions: Packages that it names the version of.
        written: When its zip says that it was written, seconds since 1970 (its own clock, read as
            UTC); or None.
        modified: When the file was modified, seconds since 1970: a copy may be younger.
    """

    form: str
    names: tuple[tuple[str, str], ...] = ()
    attributes: Mapping[tuple[str, str], tuple[frozenset[str], ...]] = field(default_factory=dict)
    keys: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    entries: tuple[str, ...] = ()
    described: tuple[str, tuple[str, ...]] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    written: int | None = None
    modified: int = 0


def traces_of(old: OldFile) -> Traces:
    """Reads what an old file tells.

    Raises:
        CheckpointError: It is damaged.
    """
    held = [read(data, old.path) for data in listing.pickles(old)]
    names = dict.fromkeys(name for _, found in held for name in found)
    attributes: dict[tuple[str, str], list[frozenset[str]]] = {}
    keys: dict[str, tuple[int, ...]] = {}
    for thing, _ in held:
        walk(thing, lambda part, path: _visit(part, path, attributes, keys))
    for thing, _ in held:
        keys.update(_weights(thing, ""))
    if not old.pickled:
        keys = _safetensors(old)
    entries = _entries(held[-1][0]) if held else ()
    described = None
    if old.recipe is not None:
        described = (old.recipe.class_path, tuple(map(str, old.recipe.arguments)))
    if old.form == fileforms.SB3:
        said = listing.data_of(old)
        entries = tuple(said) if isinstance(said, dict) else ()
    return Traces(
        form=old.form,
        names=tuple(names),
        attributes={home: tuple(sets) for home, sets in attributes.items()},
        keys=keys,
        entries=entries,
        described=described,
        versions=_versions(old) if old.form == fileforms.SB3 else {},
        written=_written(old.path),
        modified=int(os.stat(old.path).st_mtime),
    )


def _visit(
    part: Any,
    path: str,
    attributes: dict[tuple[str, str], list[frozenset[str]]],
    keys: dict[str, tuple[int, ...]],
) -> None:
    if isinstance(part, Hollow) and (fields := fields_of(part)):
        inner = (fields.get(name) for name in ("_modules", "_parameters", "_buffers"))
        more = {key for d in inner if isinstance(d, dict) for key in d}
        attributes.setdefault(part.home, []).append(frozenset(map(str, {*fields, *more})))
    elif isinstance(part, dict) and "optim" not in path.lower():
        shapes = {k: shape_of(v) for k, v in part.items() if isinstance(k, str)}
        known = {k: shape for k, shape in shapes.items() if shape is not None}
        # (Entries of `_parameters` of an instance have their whole keys from `_weights`.)
        if known and len(known) == len(part) and not path.endswith(("_parameters", "_buffers")):
            keys.update(known)


def _weights(thing: Any, prefix: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The state_dict of a whole module, as its parts say it."""
    if not isinstance(thing, Hollow):
        return
    fields = fields_of(thing)
    hidden = fields.get("_non_persistent_buffers_set")
    skipped = hidden.args[0] if isinstance(hidden, Hollow) and hidden.args else hidden or ()
    for kind in ("_parameters", "_buffers"):
        for name, value in _mapping(fields.get(kind)):
            shape = shape_of(value)
            if shape is not None and name not in skipped:
                yield f"{prefix}{name}", shape
    for name, value in _mapping(fields.get("_modules")):
        yield from _weights(value, f"{prefix}{name}.")


def _mapping(value: Any) -> list[tuple[str, Any]]:
    return [(str(k), v) for k, v in value.items()] if isinstance(value, dict) else []


def _entries(thing: Any) -> tuple[str, ...]:
    """Keys of a mapping that is no state_dict itself."""
    if not isinstance(thing, dict) or all(shape_of(v) is not None for v in thing.values()):
        return ()
    return tuple(key for key in thing if isinstance(key, str))


def _safetensors(old: OldFile) -> dict[str, tuple[int, ...]]:
    if old.weights is None:
        with open(old.path, "rb") as file:
            data = file.read(_HEADER)
    else:
        data = member(old.path, old.weights, None)
    try:
        (length,) = struct.unpack("<Q", data[:8])
        said = json.loads(data[8 : 8 + length])
        return {k: tuple(v["shape"]) for k, v in said.items() if k != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError) as error:
        raise CheckpointError(f"{old.path} has a damaged header", str(error)[:200], "") from None


def _versions(old: OldFile) -> dict[str, str]:
    try:
        text = member(old.path, "system_info.txt", 1 << 16).decode("utf-8", "replace")
    except CheckpointError:
        return {}
    return dict(_VERSION.findall(text))


def _written(path: str) -> int | None:
    """The newest date of a zip's members; torch's own zips have none."""
    if os.path.isdir(path) or not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        dates = [entry.date_time for entry in archive.infolist()]
    newest = max(dates, default=(1980, 1, 1, 0, 0, 0))
    return calendar.timegm((*newest, 0, 0, 0)) if newest[0] >= _ZIP_EPOCH else None
