"""What a Stable-Baselines3 zip says of its policy, as plain data; and the code that builds it.

Its policies take spaces and a schedule, which no checkpoint holds. So a small module is laid over
the tree, which makes them of plain data; it travels in the checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from codevault import architecture as arch
from codevault.errors import CaptureError, ConvertError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MODULE: Final = "codevault_sb3"
"""The module that is laid over the tree."""
CLASS: Final = f"{MODULE}:policy"
SOURCE: Final = '''\
"""Builds a Stable-Baselines3 policy from plain data; laid over the code by codevault convert."""

import importlib
import inspect

import numpy as np
from gymnasium import spaces


def space(said):
    kind, said = said["kind"], dict(said)
    del said["kind"]
    if kind == "Box":
        shape, dtype = tuple(said["shape"]), np.dtype(said["dtype"])
        bounds = [np.asarray(said[name], np.float64).astype(dtype) for name in ("low", "high")]
        low, high = (np.broadcast_to(bound, shape) for bound in bounds)
        return spaces.Box(low.copy(), high.copy(), shape, dtype.type)
    if kind == "Dict":
        return spaces.Dict({name: space(part) for name, part in said["spaces"].items()})
    if kind == "Tuple":
        return spaces.Tuple([space(part) for part in said["spaces"]])
    if kind == "Discrete":
        return spaces.Discrete(said["n"], start=said["start"])
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(said["nvec"])
    return spaces.MultiBinary(said["n"])


def named(value):
    """Classes of libraries stand as text in a mapping."""
    if isinstance(value, dict) and set(value) == {"library"}:
        module, _, name = value["library"].rpartition(".")
        found = getattr(importlib.import_module(module), name)
        if not isinstance(found, type):
            raise TypeError(f"{value['library']} is no class")
        return found
    if isinstance(value, dict):
        return {key: named(part) for key, part in value.items()}
    return [named(part) for part in value] if isinstance(value, list) else value


def policy(policy_class, observation_space, action_space, use_sde, **kwargs):
    kwargs = {key: named(part) for key, part in kwargs.items()}
    if "use_sde" in inspect.signature(named(policy_class)).parameters:
        kwargs.setdefault("use_sde", use_sde)
    return named(policy_class)(
        space(observation_space), space(action_space), lambda _: 0.0, **kwargs
    )
'''


def arguments(said: Mapping[str, Any], name_of: Callable[[Any, str], str]) -> dict[str, Any]:
    """The arguments of `policy` as plain data.

    Args:
        said: Class, spaces and arguments, as they were in the file.
        name_of: Names the code's own classes; raises CaptureError for others.

    Raises:
        ConvertError: A part has no plain form.
    """
    found: dict[str, Any] = {
        "policy_class": _value(said["policy_class"], name_of, "policy_class"),
        "observation_space": _space(said["observation_space"]),
        "action_space": _space(said["action_space"]),
        "use_sde": bool(said.get("use_sde")),
    }
    for key, value in (said.get("policy_kwargs") or {}).items():
        found[str(key)] = _value(value, name_of, f"policy_kwargs.{key}")
    return found


def observation(space: Mapping[str, Any]) -> Any:
    """A description of one observation of a space, as `--probe` takes it."""
    kind = space["kind"]
    if kind == "Dict":
        return {name: observation(part) for name, part in space["spaces"].items()}
    if kind == "Tuple":
        return [observation(part) for part in space["spaces"]]
    if kind == "Box":
        sizes = ",".join(str(size) for size in (1, *space["shape"]))
        bound = "<256" if space["dtype"] == "uint8" else ""
        return f"{space['dtype']}[{sizes}]{bound}"
    if kind == "Discrete":
        return f"int64[1]<{space['n']}"
    if kind == "MultiDiscrete":
        return f"int64[1,{len(space['nvec'])}]<{min(space['nvec'])}"
    return f"int8[1,{space['n']}]"


def _space(space: Any) -> dict[str, Any]:
    kind = type(space).__name__
    if kind == "Box":
        bounds = {name: _bound(getattr(space, name)) for name in ("low", "high")}
        return {"kind": kind, "shape": list(space.shape), "dtype": str(space.dtype), **bounds}
    if kind == "Discrete":
        return {"kind": kind, "n": int(space.n), "start": int(getattr(space, "start", 0))}
    if kind == "MultiDiscrete":
        return {"kind": kind, "nvec": space.nvec.tolist()}
    if kind == "MultiBinary":
        return {"kind": kind, "n": int(space.n)}
    if kind == "Dict":
        return {"kind": kind, "spaces": {str(k): _space(v) for k, v in space.spaces.items()}}
    if kind == "Tuple":
        return {"kind": kind, "spaces": [_space(part) for part in space.spaces]}
    raise ConvertError(f"the space is a {kind}", "no plain form of it is known", "--class, --arg")


def _bound(bound: Any) -> Any:
    """One number where all are equal, else all of them; infinities are plain data in YAML."""
    values = bound.reshape(-1).tolist()
    return float(values[0]) if len(set(values)) == 1 else bound.tolist()


def _value(value: Any, name_of: Callable[[Any, str], str], where: str) -> Any:
    if isinstance(value, dict):
        return {str(key): _value(v, name_of, f"{where}.{key}") for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_value(part, name_of, where) for part in value]
    try:
        return arch.encode(value, name_of, where)
    except CaptureError as error:
        if isinstance(value, type):
            return {"library": f"{value.__module__}.{value.__name__}"}
        raise ConvertError(f"{where} has no plain form", error.what) from None
