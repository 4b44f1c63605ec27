# ruff: noqa: SLF001
# What a module holds besides its parameters has no public name.
"""Effective values: what an argument, a config or a policy holds, flat and as plain data."""

from __future__ import annotations

import enum
import hashlib
import math
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

import torch

from codevault.evolve.fields import values_of
from codevault_importhook import strip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    IsOwn = Callable[[str], bool]
    """Whether a module of that name, as loaded, is the code's own."""

_DEPTH: Final = 8
_MANY: Final = 20_000
"""How many values of one policy are compared."""
_INTERNAL: Final = frozenset({*vars(torch.nn.Module()), "training"})


def flattened(value: Any, path: str, own: IsOwn, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Each plain value in `value` with its path; of what has no plain form, its class.

    Args:
        value: Anything.
        path: Its path, such as `encoder.hidden`.
        own: Tells own modules: their objects are looked into, and their names lose the module,
            which may have moved.
        depth: How deep it lies.
    """
    inner = _parts(value, own) if depth < _DEPTH else None
    if inner is None:
        yield path, plain(value, own)
        return
    if not inner or values_of(value) is not None:
        yield path, plain(value, own)
    for name, part in inner.items():
        joint = "" if name.startswith("[") or not path else "."
        yield from flattened(part, f"{path}{joint}{name}", own, depth + 1)


def plain(value: Any, own: IsOwn) -> Any:
    """A value as plain data that can be compared across versions."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__qualname__}.{value.name}"
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        items = [plain(item, own) for item in value]
        return sorted(items, key=repr) if isinstance(value, set | frozenset) else items
    if isinstance(value, torch.Tensor):
        return _tensor(value)
    if isinstance(value, torch.dtype | torch.device | torch.Size):
        return str(value)
    thing = value
    if not isinstance(value, type | FunctionType | BuiltinFunctionType | MethodType):
        thing = type(value)
    module = str(getattr(thing, "__module__", None) or "")
    # Functions in C have the class that torch keeps them in as part of their qualified names.
    c = isinstance(thing, BuiltinFunctionType)
    name = str(getattr(thing, "__name__" if c else "__qualname__", thing))
    if c and not module:
        module = "torch" if getattr(torch, name, None) is thing else ""
    return name if own(module) or module in ("", "builtins") else f"{strip(module)}.{name}"


def held(policy: Any, own: IsOwn) -> dict[str, Any]:
    """What the modules of a policy hold besides parameters, buffers and submodules, by path.

    The class of each module stands under its own path. Non-persistent buffers, which no weights
    file has, count.
    """
    found: dict[str, Any] = {}
    if not isinstance(policy, torch.nn.Module):
        return dict(islice(flattened(policy, "", own), _MANY))
    for path, module in policy.named_modules():
        found[path] = plain(module, own)
        transient = module._non_persistent_buffers_set
        values = {n: v for n, v in vars(module).items() if n not in _INTERNAL}
        values |= {n: b for n, b in module._buffers.items() if n in transient}
        if not own(type(module).__module__):  # a library's own bookkeeping, such as an LSTM's
            values = {n: v for n, v in values.items() if not n.startswith("_")}
        for name, value in values.items():
            if not isinstance(value, torch.nn.Module | torch.nn.Parameter):
                inner = flattened(value, f"{path}.{name}" if path else name, own)
                found |= islice(inner, _MANY)
        if len(found) > _MANY:
            break
    return found


def _parts(value: Any, own: IsOwn) -> dict[str, Any] | None:
    """What lies in a value, by name; None for what is a value itself."""
    known = values_of(value)
    if known is not None:
        return known
    if isinstance(value, dict):
        return {str(key): part for key, part in value.items()}
    if isinstance(value, list | tuple) and any(_deep(item, own) for item in value):
        return {f"[{place}]": item for place, item in enumerate(value)}
    if _deep(value, own) and hasattr(value, "__dict__"):
        return {name: part for name, part in vars(value).items() if not name.startswith("__")}
    return None


def _deep(value: Any, own: IsOwn) -> bool:
    """Whether a value is looked into: an object of the code's own, or a collection."""
    if isinstance(value, torch.nn.Module | torch.Tensor | enum.Enum | type | FunctionType):
        return False  # modules and parameters are compared where they are registered
    return (
        isinstance(value, dict | list | tuple)
        or values_of(value) is not None
        or own(type(value).__module__)
    )


def _tensor(value: torch.Tensor) -> str:
    text = f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if value.is_meta or not value.numel():
        return text
    try:
        data = value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
    except (RuntimeError, TypeError):
        return text
    return f"{text} sha256:{hashlib.sha256(data).hexdigest()[:12]}"
