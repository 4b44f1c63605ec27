"""Nested values as plain data: a structure that JSON can hold, and tensors by name."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from codevault.cpucopies import Copies
from codevault.tensorfile import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEPTH: Final = 32
_KINDS: Final[Mapping[str, set[str]]] = {
    "other": {"type"},
    "fields": {"type", "keys", "items"},
    "tensor": {"device"},
    "array": {"device"},
    "value": {"value"},
    "float": {"value"},
    "list": {"items"},
    "tuple": {"items"},
    "dict": {"keys", "items"},
    "tensordict": {"keys", "items", "batch", "device"},
}


@dataclass(frozen=True, slots=True)
class Nest:
    """A nested value, taken apart.

    Attributes:
        structure: A tree of nodes, each a mapping with `kind` and `path`; plain data for JSON.
        tensors: Copies on the CPU, contiguous, by the path of their node.
    """

    structure: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]


def pack(value: Any, root: str, buffers: Mapping[str, torch.Tensor] | None = None) -> Nest:
    """Takes a nested value apart; tensors are copied to the CPU.

    What is neither tensor, number, text, None nor a collection of such becomes a node of kind
    `other`, which says what it was.

    Args:
        value: Tensors, arrays, tuples, lists, dicts, dataclasses, named tuples, TensorDicts,
            distributions (by their parameters), numbers, strings and None, in any nesting.
        root: The path of the whole value; the parts' paths extend it with dots.
        buffers: Tensors of an earlier nest that nobody needs any more: the copy of a tensor with
            the same path, shape and dtype is made in it, since new memory costs more than the copy.
    """
    tensors = Copies(buffers or {})
    return Nest(_pack(value, root, tensors, 0), dict(tensors))


def unpack(nest: Nest, devices: Mapping[str, torch.device]) -> Any:
    """Puts a nested value together again, with tensors of its own.

    Args:
        nest: What `pack` gave, without nodes of the kinds `other` and `fields`.
        devices: Where tensors go, by the type of the device that they came from; otherwise the CPU.
    """
    return _unpack(nest.structure, nest.tensors, devices)


def check(node: Any, tensors: Mapping[str, torch.Tensor], depth: int = 0) -> None:
    """Raises ValueError, LookupError or TypeError for a node that `pack` could not have given."""
    path, kind = node["path"], node["kind"]
    items, keys, batch = (node.get(name, []) for name in ("items", "keys", "batch"))
    sound = (
        type(path) is type(node.get("type", "")) is str
        and depth <= _DEPTH + 1
        and node.keys() == {"path", "kind", *_KINDS[kind]}
        and type(items) is type(keys) is type(batch) is list
        and type(node.get("device")) in (str, type(None))
        and type(node.get("value")) in ((str,) if kind == "float" else (str, int, bool, type(None)))
        and (path in tensors or kind not in ("tensor", "array"))
        and (len({*keys}) == len(items) or "keys" not in node)
        and all(type(key) in (str, int) for key in keys)
        and all(type(size) is int for size in batch)
    )
    if not sound:
        raise ValueError(f"{path!r} is no node of the kind {kind!r}")
    if kind == "float":
        float(node["value"])
    for item in items:
        check(item, tensors, depth + 1)


def others(node: Mapping[str, Any]) -> list[str]:
    """Path and type of what could not be taken apart into parts that can be put together again."""
    if node["kind"] in ("other", "fields"):
        return [f"{node['path']} ({node['type']})"]
    return [text for item in node.get("items", ()) for text in others(item)]


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """True if two tensors have one dtype and shape and equal values; NaN equals NaN."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())


def equal(a: Nest, b: Nest) -> bool:
    """True if two nests have one structure and equal tensors."""
    return a.structure == b.structure and all(
        same(tensor, b.tensors[path]) for path, tensor in a.tensors.items()
    )


def is_tensordict(value: Any) -> bool:
    """True for a TensorDict; whoever has one has imported its package."""
    package = sys.modules.get("tensordict")
    return package is not None and isinstance(value, package.TensorDictBase)


def _pack(value: Any, path: str, tensors: Copies, depth: int) -> dict[str, Any]:
    if depth > _DEPTH:
        return {"kind": "other", "path": path, "type": "nested too deeply"}
    if isinstance(value, torch.Tensor):
        return _pack_tensor(value, path, tensors)
    if value is None or type(value) in (bool, int, str):
        return {"kind": "value", "path": path, "value": value}
    if type(value) is float:
        # As text: JSON has no infinities and no NaN.
        return {"kind": "float", "path": path, "value": repr(value)}
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        try:
            node = _pack_tensor(torch.from_numpy(numpy.array(value)), path, tensors)
        except TypeError:
            return {"kind": "other", "path": path, "type": f"array of {value.dtype}"}
        return node | ({"kind": "array"} if node["kind"] == "tensor" else {})
    parts = _parts(value)
    if parts is None:
        return {"kind": "other", "path": path, "type": type(value).__qualname__}
    node, items = parts
    names: set[str] = set()
    nodes = []
    for key, item in items:
        name = f"{path}.{key}"
        while name in names or name in tensors:
            # {"a.b": x, "a": {"b": y}} and {1: x, "1": y} have two parts of one name.
            name += "'"
        names.add(name)
        nodes.append(_pack(item, name, tensors, depth + 1))
    return node | {"path": path, "items": nodes}


def _pack_tensor(value: torch.Tensor, path: str, tensors: Copies) -> dict[str, Any]:
    if type(value) is torch.nn.Parameter:
        value = value.detach()
    why = refusal(value)
    if why:
        return {"kind": "other", "path": path, "type": f"a tensor that {why}"}
    tensors.add(path, value)
    return {"kind": "tensor", "path": path, "device": value.device.type}


def _parts(value: Any) -> tuple[dict[str, Any], list[tuple[Any, Any]]] | None:
    """The node and the keyed parts of a collection, or None if it is none."""
    name = type(value).__qualname__
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = list(value._fields)
        pairs = list(zip(fields, value, strict=True))
        return {"kind": "fields", "type": name, "keys": fields}, pairs
    if type(value) in (tuple, list, torch.Size):
        return {"kind": "list" if type(value) is list else "tuple"}, list(enumerate(value))
    if isinstance(value, dict):
        keys = list(value)
        if not all(type(key) in (str, int) for key in keys):
            return None
        return {"kind": "dict", "keys": keys}, list(value.items())
    if is_tensordict(value):
        keys = sorted(str(key) for key in value.keys())  # noqa: SIM118 -- a TensorDict iterates rows
        device = value.device.type if value.device is not None else None
        batch = list(value.batch_size)
        node = {"kind": "tensordict", "keys": keys, "batch": batch, "device": device}
        return node, [(key, _plain_entry(value.get(key))) for key in keys]
    if isinstance(value, torch.distributions.Distribution):
        return _distribution(value)
    if hasattr(value, "to_tensordict"):
        return _parts(value.to_tensordict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        keys = [field.name for field in dataclasses.fields(value)]
        items = [(key, getattr(value, key, None)) for key in keys]
        return {"kind": "fields", "type": name, "keys": keys}, items
    return None


def _plain_entry(value: Any) -> Any:
    kind = type(value).__name__
    return value.tolist() if kind in ("NonTensorData", "NonTensorStack") else value


def _distribution(value: Any) -> tuple[dict[str, Any], list[tuple[Any, Any]]] | None:
    items = []
    # A property of abstract distributions raises; those that wrap another have no parameters.
    try:
        for key in sorted(value.arg_constraints):
            items.append((key, getattr(value, key)))
    except (NotImplementedError, AttributeError):
        return None
    for key in ("base_dist", "mixture_distribution", "component_distribution"):
        if hasattr(value, key):
            items.append((f"{key}", getattr(value, key)))
    if not items:
        return None
    keys = [key for key, _ in items]
    return {"kind": "fields", "type": type(value).__qualname__, "keys": keys}, items


def _unpack(
    node: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    devices: Mapping[str, torch.device],
) -> Any:
    kind = node["kind"]
    if kind == "tensor":
        device = devices.get(node["device"], torch.device("cpu"))
        return tensors[node["path"]].to(device, copy=True)
    if kind == "array":
        return tensors[node["path"]].clone().numpy()
    if kind == "value":
        return node["value"]
    if kind == "float":
        return float(node["value"])
    items = [_unpack(item, tensors, devices) for item in node["items"]]
    if kind == "list":
        return items
    if kind == "tuple":
        return tuple(items)
    if kind == "dict":
        return dict(zip(node["keys"], items, strict=True))
    if kind == "tensordict":
        from tensordict import TensorDict

        place = devices.get(node["device"]) if node["device"] else None
        entries = dict(zip(node["keys"], items, strict=True))
        return TensorDict(entries, batch_size=node["batch"], device=place)
    raise ValueError(f"{node['path']} has the kind {kind!r}, which cannot be put together again")
