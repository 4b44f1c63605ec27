"""What a class or function takes: its fields or parameters with their defaults."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUIRED: Final = inspect.Parameter.empty
"""Stands for the default of what must be given."""


@dataclass(frozen=True, slots=True)
class Fields:
    """What can be given to a class or function.

    Attributes:
        defaults: Name to default, in order; `REQUIRED` where there is none.
        takes_more: Whether other names are taken too, so that nothing is refused by its name.
    """

    defaults: Mapping[str, Any]
    takes_more: bool


def fields_of(target: Any) -> Fields:
    """The fields of a pydantic model, dataclass or attrs class; else parameters.

    Default factories are called. Of a class that hands further keywords on, the parameters of the
    classes it inherits from count as well.
    """
    if hasattr(target, "model_fields"):
        return _of_model(target)
    if dataclasses.is_dataclass(target) and isinstance(target, type):
        found = {f.name: _dataclass_default(f) for f in dataclasses.fields(target) if f.init}
        return Fields(found, False)
    if hasattr(target, "__attrs_attrs__"):
        found = {a.alias or a.name: _attrs_default(a) for a in target.__attrs_attrs__ if a.init}
        return Fields(found, False)
    return _of_signature(target)


def values_of(value: Any) -> dict[str, Any] | None:
    """The fields of an instance of such a class; None for any other object."""
    kind = type(value)
    if isinstance(value, type):
        return None
    if hasattr(kind, "model_fields"):
        names = [*kind.model_fields, *(getattr(value, "model_extra", None) or {})]
    elif dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    elif hasattr(kind, "__attrs_attrs__"):
        names = [attribute.name for attribute in kind.__attrs_attrs__]
    else:
        return None
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _of_model(target: Any) -> Fields:
    found: dict[str, Any] = {}
    for name, field in target.model_fields.items():
        found[name] = REQUIRED if field.is_required() else _made(partial(_default, field))
    extra = getattr(target, "model_config", {}).get("extra")
    return Fields(found, extra == "allow")


def _default(field: Any) -> Any:
    return field.get_default(call_default_factory=True)


def _made(factory: Any) -> Any:
    """What a default factory gives; its failure is the class's trouble, which building meets."""
    try:
        return factory()
    except Exception:
        return None


def _dataclass_default(field: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return _made(field.default_factory)
    return REQUIRED


def _attrs_default(attribute: Any) -> Any:
    default = attribute.default
    if type(default).__name__ == "_Nothing":
        return REQUIRED
    if type(default).__name__ == "Factory":
        return None if default.takes_self else _made(default.factory)
    return default


def _of_signature(target: Any) -> Fields:
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return Fields({}, True)
    found, more = _named(signature)
    for base in inspect.getmro(target)[1:] if isinstance(target, type) and more else ():
        if "__init__" in vars(base) and base is not object:
            try:
                inherited, more = _named(inspect.signature(base))
            except (TypeError, ValueError):
                break
            found |= {n: default for n, default in inherited.items() if n not in found}
            if not more:
                break
    return Fields(found, more)


def _named(signature: inspect.Signature) -> tuple[dict[str, Any], bool]:
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = signature.parameters.values()
    named = {p.name: p.default for p in parameters if p.kind not in several}
    return named, any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
