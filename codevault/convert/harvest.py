"""What an unpickled object holds: weights, or a policy with its class and arguments."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import torch

from codevault import architecture as arch
from codevault.errors import CaptureError, ConvertError
from codevault.oldforms import namer
from codevault.unwrap import unwrap

if TYPE_CHECKING:
    from codevault.splint import Splint

_USUAL: Final = ("model_state_dict", "state_dict", "policy_state_dict", "model", "policy", "agent")
_WRAPPERS: Final = ("module.", "_orig_mod.")
_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Harvest:
    """What was found in an object.

    Attributes:
        state: The weights.
        policy: The policy, where the object held one.
        left_out: Entries of the file that are not taken.
        stripped: Prefixes of wrappers that were taken from all names of the weights.
    """

    state: Mapping[str, torch.Tensor]
    policy: Any = None
    left_out: tuple[str, ...] = ()
    stripped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Guess:
    """The arguments with which a policy's class may have been called.

    Attributes:
        class_path: `pkg.mod:Class`.
        arguments: Plain data, from attributes with the names of parameters.
        missing: Parameters for which there is neither an attribute nor a default.
    """

    class_path: str
    arguments: dict[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def harvest(thing: Any, key: str | None) -> Harvest:
    """Finds the weights, or the policy, in what a file held.

    Args:
        thing: The object.
        key: Which entry it is, with dots between keys; None finds out.

    Raises:
        ConvertError: There is none, or more than one.
    """
    chosen, rest = (thing, ()) if key is None else _entry(thing, key)
    if key is None and isinstance(thing, Mapping) and not _is_state(thing):
        name = _only(thing)
        chosen, rest = thing[name], tuple(str(k) for k in thing if k != name)
    if _is_state(chosen):
        state, stripped = _unprefixed(dict(chosen))
        return Harvest(state, None, rest, stripped)
    if isinstance(chosen, Mapping) or not callable(getattr(chosen, "state_dict", None)):
        raise ConvertError(
            f"the file holds a {type(chosen).__module__}.{type(chosen).__qualname__}",
            "that is neither weights nor a policy",
            "--state KEY  # if the weights are in it",
        )
    policy = unwrap(chosen)
    state = policy.state_dict()
    others = [key for key, value in state.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise ConvertError(
            f"the policy's state_dict has {len(others)} entries that are no tensors",
            ", ".join(others[:10]),
        )
    return Harvest(state, policy, rest)


def guess(policy: Any, splint: Splint, given: Mapping[str, Any]) -> Guess:
    """The class of a policy, and its arguments as far as its attributes tell them.

    Args:
        policy: The policy.
        splint: The code of its class.
        given: Arguments that the user named.

    Raises:
        ConvertError: Its class is not the code's own.
    """
    cls = type(policy)
    if not splint.defines(cls.__module__):
        raise ConvertError(
            f"the file holds a {cls.__module__}.{cls.__qualname__}",
            f"that class is not {splint.name}'s own, and a checkpoint names only its own classes",
            "--class pkg.mod:function  # one of its functions that gives such a policy",
        )

    name_of = namer(splint)
    found: dict[str, Any] = {}
    missing = []
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind in _VARIADIC or name in given:
            continue
        try:
            found[name] = arch.encode(getattr(policy, name), name_of, name)
        except (AttributeError, CaptureError):
            if parameter.default is parameter.empty:
                missing.append(name)
    return Guess(name_of(cls, "class"), found, tuple(missing))


def _is_state(thing: Any) -> bool:
    return (
        isinstance(thing, Mapping)
        and len(thing) > 0
        and all(isinstance(key, str) for key in thing)
        and all(isinstance(value, torch.Tensor) for value in thing.values())
    )


def _entry(thing: Any, key: str) -> tuple[Any, tuple[str, ...]]:
    rest: tuple[str, ...] = ()
    for depth, part in enumerate(key.split(".")):
        if not isinstance(thing, Mapping) or part not in thing:
            there = ", ".join(map(str, thing)) if isinstance(thing, Mapping) else type(thing)
            raise ConvertError(f"the file has no entry {key!r}", f"it has {there}", "--state KEY")
        if depth == 0:
            rest = tuple(str(k) for k in thing if k != part)
        thing = thing[part]
    return thing, rest


def _only(thing: Mapping[Any, Any]) -> Any:
    """The key of the one entry that can be meant."""
    fits = [k for k, v in thing.items() if _is_state(v) or isinstance(v, torch.nn.Module)]
    if len(fits) == 1:
        return fits[0]
    usual = [key for key in _USUAL if key in fits]
    if usual:
        return usual[0]
    there = ", ".join(str(key) for key in fits or thing)
    raise ConvertError(
        "the file does not say which of its entries is the policy's",
        f"weights are in {there}" if fits else f"none of {there} is all tensors",
        f"--state {fits[0] if fits else 'KEY'}",
    )


def _unprefixed(state: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Without the prefixes that DDP and torch.compile put before all names."""
    stripped: tuple[str, ...] = ()
    while True:
        prefix = next((p for p in _WRAPPERS if all(key.startswith(p) for key in state)), None)
        if prefix is None:
            return state, stripped
        state = {key.removeprefix(prefix): value for key, value in state.items()}
        stripped = (*stripped, prefix)
