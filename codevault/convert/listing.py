"""The names that pickles look up, read without running anything."""

from __future__ import annotations

import _compat_pickle
import base64
import io
import json
import os
import pickletools
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from codevault import fileforms
from codevault.archive import RESTORE
from codevault.errors import CheckpointError
from codevault.oldforms import OldFile, member

if TYPE_CHECKING:
    from collections.abc import Iterator

UNREADABLE: Final = "?"
"""Stands for a name that the pickle puts together while it is read."""
_MAGIC: Final = 0x1950A86A20F9469CFC6C
"""The first value of files that torch.save wrote before 1.6."""
SB3_KEYS: Final = ("policy_class", "observation_space", "action_space", "policy_kwargs", "use_sde")
"""What a Stable-Baselines3 zip says of its policy; the rest of its `data` is about training."""
_MOST: Final = 1 << 30
_TEXTS: Final = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE")


@dataclass(frozen=True, slots=True)
class Names:
    """What one pickle looks up.

    Attributes:
        names: Dotted names, in order of appearance.
        magic: Whether it is the number that old files of torch.save start with.
    """

    names: tuple[str, ...]
    magic: bool = False


def names_of(old: OldFile) -> tuple[str, ...]:
    """All names that the pickles of an old file look up, sorted; none where it has no pickles.

    Raises:
        CheckpointError: A pickle is damaged.
    """
    found = {name for data in pickles(old) for name in _names(data, old.path)}
    return tuple(sorted(found))


def data_of(old: OldFile) -> Any:
    """The `data` of a Stable-Baselines3 zip, as JSON; nothing in it is unpickled."""
    try:
        return json.loads(member(old.path, "data", _MOST))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{old.path} has a damaged data", str(error), RESTORE) from None


def blob(value: Any, where: str) -> bytes:
    """The pickle of one entry of `data`."""
    try:
        return base64.b64decode(value[":serialized:"])
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{where} has a damaged data", str(error), RESTORE) from None


def pickles(old: OldFile) -> Iterator[bytes]:
    """The bytes in which pickles stand, one after the other."""
    if old.form == fileforms.SB3:
        data = data_of(old)
        for key in SB3_KEYS if isinstance(data, dict) else ():
            value = data.get(key)
            if isinstance(value, dict) and isinstance(value.get(":serialized:"), str):
                yield blob(value, old.path)
        yield from _of_torch(member(old.path, "policy.pth", None))
    elif not old.pickled:
        return
    elif old.weights is not None:
        yield from _of_torch(member(old.path, old.weights, None))
    else:
        if os.path.getsize(old.path) > _MOST << 6:
            raise CheckpointError(f"{old.path} is too large", "", RESTORE)
        with open(old.path, "rb") as file:
            if zipfile.is_zipfile(file):
                yield from _of_torch(file)
            else:
                file.seek(0)
                yield file.read()


def _of_torch(data: Any) -> Iterator[bytes]:
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    if not zipfile.is_zipfile(file):
        file.seek(0)
        yield file.read()
        return
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if name.endswith("data.pkl"):
                yield archive.read(name)


def _names(data: bytes, where: str) -> Iterator[str]:
    stream = io.BytesIO(data)
    first = _one(stream, where)
    yield from first.names
    # Before 1.6: magic number, protocol, system, the object, the keys of its storages.
    for _ in range(4 if first.magic else 0):
        yield from _one(stream, where).names


def _one(stream: io.BytesIO, where: str) -> Names:
    """The names of the pickle that starts here; the stream is left at its end."""
    found: dict[str, None] = {}
    memo: dict[int, str | None] = {}
    before: str | None = None
    newest: str | None = None
    protocol, magic = 0, False
    try:
        operations: Any = pickletools.genops(stream)
        for op, value, _ in operations:
            if op.name == "PROTO":
                protocol = value
            elif op.name == "MEMOIZE":
                memo[len(memo)] = newest
            elif op.name in ("PUT", "BINPUT", "LONG_BINPUT"):
                memo[int(value)] = newest
            elif op.name in ("GET", "BINGET", "LONG_BINGET"):
                before, newest = newest, memo.get(int(value))
            elif op.name in _TEXTS:
                before, newest = newest, value
            elif op.name in ("GLOBAL", "INST"):
                module, _, name = value.partition(" ")
                found[today(module, name, protocol)] = None
                before, newest = newest, None
            elif op.name == "STACK_GLOBAL":
                known = before is not None and newest is not None
                found[today(before or "", newest or "", 4) if known else UNREADABLE] = None
                before, newest = None, None
            elif op.name in ("EXT1", "EXT2", "EXT4"):
                found[UNREADABLE] = None
            else:
                magic = magic or (op.name == "LONG1" and value == _MAGIC)
                if op.stack_after and op.name != "FRAME":
                    before, newest = newest, None
    except (ValueError, KeyError, IndexError, OverflowError, MemoryError, AttributeError) as error:
        raise CheckpointError(f"{where} has a damaged pickle", str(error)[:200], RESTORE) from None
    return Names(tuple(found), magic)


def today(module: str, name: str, protocol: int) -> str:
    """A name of a pickle of that protocol as Python 3 looks it up."""
    if protocol < 3:
        module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
        module = _compat_pickle.IMPORT_MAPPING.get(module, module)
    return f"{module}.{name}"
