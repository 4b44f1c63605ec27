"""The architecture as plain data: how a policy is built again, without pickles and without code.

Values are plain data, models (pydantic or dataclass instances) and references to classes, functions
and enum members. Three marks stand for what plain data has no word for:

    {"$model": "pkg.mod:Config", "fields": {...}}   an instance
    {"$ref": "pkg.mod:function"}                    a class, function or enum member
    {"$tuple": [...]}, {"$dict": [[key, value]]}    a tuple; a mapping with other keys than text
"""

from __future__ import annotations

import dataclasses
import enum
import sys
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any, Final

from codevault import handover
from codevault.archive import RESTORE
from codevault.checkpoint import ARCHITECTURE, read_member
from codevault.errors import BuildError, CaptureError, CheckpointError
from codevault.fileforms import plain_yaml
from codevault.manifest import unfit

if TYPE_CHECKING:
    from codevault.checkpoint import Checkpoint

NameOf = Callable[[Any, str], str]
"""Gives the importable name of a class or function, or raises CaptureError naming the argument."""
Resolve = Callable[[str], Any]
"""Gives the object behind an importable name."""

_KEYS: Final = frozenset({"class_path", "fields", "args", "kwargs"})


def describe(architecture: Any, name_of: NameOf) -> dict[str, Any]:
    """The architecture as plain data.

    Args:
        architecture: A model, or a mapping with `class_path` and `fields`, or `args`/`kwargs`.
        name_of: How classes and functions are named.

    Raises:
        CaptureError: A part cannot be written as plain data; names the argument.
    """
    if _is_model(architecture):
        encoded: dict[str, Any] = encode(architecture, name_of, "architecture")
        return {"class_path": encoded["$model"], "fields": encoded["fields"]}
    canonical = name_of(target_of(architecture), "class_path")
    said = architecture["class_path"]
    path = said if isinstance(said, str) else canonical
    rest = {
        key: encode(architecture[key], name_of, key)
        for key in sorted(set(architecture) - {"class_path"})
    }
    if isinstance(rest.get("args"), dict):
        rest["args"] = rest["args"]["$tuple"]
    return {"class_path": path, **rest}


def _check(architecture: Any) -> None:
    if not isinstance(architecture, Mapping) or "class_path" not in architecture:
        raise CaptureError(
            f"architecture is {type(architecture).__qualname__}, not a description",
            "it must be a pydantic model, a dataclass instance, or a mapping with class_path",
            'architecture={"class_path": "pkg.mod:Policy", "kwargs": {"hidden": 64}}',
        )
    unknown = sorted(set(architecture) - _KEYS)
    if unknown or ("fields" in architecture and {"args", "kwargs"} & set(architecture)):
        raise CaptureError(
            "architecture has keys that do not go together",
            f"unknown: {unknown}" if unknown else "fields stands beside args or kwargs",
            "use class_path with fields, or class_path with args and kwargs",
        )


def target_of(architecture: Any) -> Any:
    """The class or function that an architecture starts from.

    Raises:
        CaptureError: It describes nothing, or names what cannot be imported here.
    """
    if _is_model(architecture):
        return type(architecture)
    _check(architecture)
    target = architecture.get("class_path")
    if not isinstance(target, str):
        return target
    module, _, name = target.partition(":") if ":" in target else target.rpartition(".")
    try:
        found: Any = __import__(module, fromlist=["_"])
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise CaptureError(
            f"architecture names {target!r}, which cannot be imported here",
            str(error),
            'class_path is "pkg.mod:Class" of the code that the policy runs now',
        ) from error
    return found


def encode(value: Any, name_of: NameOf, where: str) -> Any:
    """One value as plain data; `where` is the argument's path, for messages.

    Raises:
        CaptureError: The value, or a part, is neither plain data, nor a model, nor a reference.
    """
    try:
        data = _encode(value, name_of, where)
        wrong = unfit(data)
    except RecursionError:
        wrong = "is nested too deeply, or contains itself"
    if wrong:
        hint = f"hand {where} over as less, and let a function of your code make the object of it"
        raise CaptureError(f"{where} {wrong}", "", hint)
    return data


def _encode(value: Any, name_of: NameOf, where: str) -> Any:
    if isinstance(value, enum.Enum) and value.name in type(value).__members__:
        return {"$ref": f"{name_of(type(value), where)}.{value.name}"}
    if value is None or isinstance(value, bool | int | float | str):
        return value if type(value) in (type(None), bool, int, float, str) else _plain(value, where)
    if isinstance(value, list):
        return [_encode(v, name_of, f"{where}[{i}]") for i, v in enumerate(value)]
    if type(value) is tuple:
        return {"$tuple": [_encode(v, name_of, f"{where}[{i}]") for i, v in enumerate(value)]}
    if isinstance(value, dict):
        items = {k: _encode(v, name_of, f"{where}.{k}") for k, v in value.items()}
        if all(isinstance(key, str) and not key.startswith("$") for key in items):
            return items
        return {"$dict": [[_encode(k, name_of, where), v] for k, v in items.items()]}
    if _is_model(value):
        fields = {k: _encode(v, name_of, f"{where}.{k}") for k, v in _fields(value).items()}
        return {"$model": name_of(type(value), where), "fields": fields}
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return {"$ref": name_of(value, where)}
    raise CaptureError(
        f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which is no plain data",
        "a checkpoint holds no pickles: only plain data, and what own or shared code defines",
        handover.line(value, where),
    )


def decode(data: Any, resolve: Resolve, where: str) -> Any:
    """The value that `encode` described.

    Raises:
        BuildError: The data is not what `encode` gives, or a model refuses its fields.
    """
    if wrong := unfit(data):
        raise BuildError(f"{where} {wrong}", "no codevault wrote it", RESTORE)
    return _decode(data, resolve, where)


def _decode(data: Any, resolve: Resolve, where: str) -> Any:
    if isinstance(data, list):
        return [_decode(v, resolve, f"{where}[{i}]") for i, v in enumerate(data)]
    if data is None or isinstance(data, bool | int | float | str):
        return data
    if not isinstance(data, dict):
        raise BuildError(f"{where} is a {type(data).__name__}, which is no plain data", "", RESTORE)
    match data:
        case {"$ref": str(path), **rest} if not rest:
            return resolve(path)
        case {"$tuple": list(items), **rest} if not rest:
            return tuple(_decode(items, resolve, where))
        case {"$dict": list(pairs), **rest} if not rest and all(
            isinstance(pair, list) and len(pair) == 2 for pair in pairs
        ):
            items = _decode(pairs, resolve, where)
            try:
                return dict(items)
            except TypeError as error:
                raise BuildError(f"{where} has a key that is none", str(error), RESTORE) from error
        case {"$model": str(path), "fields": dict(fields), **rest} if not rest:
            return _model(resolve(path), _decode(fields, resolve, where), where)
    if any(str(key).startswith("$") for key in data):
        keys = ", ".join(ascii(key)[:80] for key in list(data)[:10])
        raise BuildError(f"{where} has an unknown mark", f"keys {keys}", RESTORE)
    return {k: _decode(v, resolve, f"{where}.{str(k)[:80]}") for k, v in data.items()}


def to_yaml(description: dict[str, Any]) -> bytes:
    """The text of an architecture; equal data give equal bytes."""
    import yaml

    text: str = yaml.safe_dump(description, sort_keys=True, allow_unicode=False, width=100)
    return text.encode()


def read(checkpoint: Checkpoint) -> dict[str, Any]:
    """The architecture of a checkpoint as plain data.

    Raises:
        CheckpointError: It is damaged, or is no architecture.
    """
    return parse(read_member(checkpoint, ARCHITECTURE), checkpoint.path)


def parse(text: bytes, path: str) -> dict[str, Any]:
    """The bytes of an architecture as plain data; raises as `read`, naming `path`."""
    where = f"{path} has a damaged {ARCHITECTURE}"
    data = plain_yaml(text, where)
    kinds = {"class_path": str, "fields": dict, "args": list, "kwargs": dict}
    known = data if isinstance(data, dict) else {}
    wrong = [key for key, kind in kinds.items() if not isinstance(known.get(key, kind()), kind)]
    if wrong or not known.get("class_path") or not known["class_path"].isprintable():
        why = f"{', '.join(wrong)} of another type" if wrong else "it names no class_path"
        raise CheckpointError(where, why, "save the policy again")
    return known


def _is_model(value: Any) -> bool:
    if isinstance(value, type):
        return False
    if dataclasses.is_dataclass(value):
        return True
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(value, pydantic.BaseModel)


def _fields(model: Any) -> dict[str, Any]:
    """All fields, also those at their default: another version's defaults may differ."""
    if dataclasses.is_dataclass(model):
        return {f.name: getattr(model, f.name) for f in dataclasses.fields(model) if f.init}
    names = [*type(model).model_fields, *(model.model_extra or {})]
    return {name: getattr(model, name) for name in names}


def _model(cls: Any, fields: dict[str, Any], where: str) -> Any:
    try:
        if hasattr(cls, "model_validate"):
            return cls.model_validate(fields, by_name=True, by_alias=False)
        return cls(**fields)
    except (TypeError, ValueError) as error:
        what = f"{where} cannot be made: {cls.__module__}.{cls.__qualname__} refuses its fields"
        raise BuildError(what, str(error), "") from error


def _plain(value: Any, where: str) -> Any:
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    raise CaptureError(
        f"{where} is a {kind}, a subclass of plain data",
        "it would come back as another type",
        f"hand over what int(...), float(...) or str(...) makes of {where}",
    )
