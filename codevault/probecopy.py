# ruff: noqa: SLF001
# A module's tensors without those of its children have no public name.
"""The understudy of a policy: a copy that runs a trial in its place, and leaves it as it was."""

from __future__ import annotations

import copy
import random
import sys
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

import torch

from codevault.precision import full_precision
from codevault.rng import kept_rng, own_state, set_own_state
from codevault.tensortree import same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ALL: Final = 64 << 20
_LARGE: Final = 64 << 10
_DEPTH: Final = 6


@dataclass(frozen=True, slots=True)
class Stage:
    """What a trial works with.

    Attributes:
        policy: What to call: a copy of the policy, or the policy itself where it cannot be copied.
        isolated: True if it is a copy.
        drawn: Tells whether random numbers were drawn so far.
    """

    policy: Any
    isolated: bool
    drawn: Callable[[], bool]


@contextmanager
def understudy_of(policy: Any, seed: int) -> Iterator[Stage]:
    """Sets up a seeded run without gradients, in eval mode and full precision.

    The run gets a deep copy. Parameters of a policy above 64 MiB are shared with it, except small
    ones, since code that clamps or counts in a parameter does so in small ones. A policy that
    cannot be copied runs itself; its modules' attributes, tensors, lists and dicts are put back.

    Args:
        policy: A module or any other callable.
        seed: For torch's, Python's and numpy's global generators, which are put back afterwards.
    """
    double = _copy(policy)
    undo: list[Callable[[], None]] = []
    if double is None:
        seen: set[int] = set()
        for _, owner in owners(policy):
            _keep(vars(owner), undo, seen, 0)
            _keep_slots(owner, undo, seen)
    actor = policy if double is None else double
    kind = device_of(policy).type
    with (
        seeded(seed) as drawn,
        full_precision(),
        torch.no_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast(kind, enabled=False),
    ):
        try:
            for _, owner in owners(actor):
                if isinstance(owner, torch.nn.Module) or hasattr(type(owner), "eval"):
                    owner.eval()
            yield Stage(actor, double is not None, drawn)
        finally:
            for step in reversed(undo):
                step()


def owners(policy: Any) -> list[tuple[str, Any]]:
    """The objects that hold a policy's state, with their paths: its modules, and itself."""
    found: list[tuple[str, Any]] = []
    roots = [("", policy)]
    if not isinstance(policy, torch.nn.Module):
        inner = vars(policy) if hasattr(policy, "__dict__") else {}
        roots += [(name, value) for name, value in inner.items()]
        cells = getattr(policy, "__closure__", None) or ()
        roots += [(f"<cell {index}>", cell.cell_contents) for index, cell in enumerate(cells)]
        if (bound := getattr(policy, "__self__", None)) is not None:
            roots += owners(bound)
    seen: set[int] = set()
    for path, root in roots:
        if isinstance(root, torch.nn.Module):
            modules = root.named_modules(prefix=path)
        elif root is policy and hasattr(root, "__dict__") and not isinstance(root, type):
            modules = iter([(path, root)])
        else:
            continue
        for name, module in modules:
            if id(module) not in seen:
                seen.add(id(module))
                found.append((name, module))
    return found


def device_of(policy: Any) -> torch.device:
    """The device of the policy's first parameter or buffer; the CPU if it has none."""
    for _, owner in owners(policy):
        if isinstance(owner, torch.nn.Module):
            for tensors in (owner._parameters, owner._buffers):
                for tensor in tensors.values():
                    if tensor is not None:
                        return tensor.device
    return torch.device("cpu")


def _copy(policy: Any) -> Any:
    """A deep copy that shares large parameters, or None where a copy would not stand alone."""
    originals = [owner for _, owner in owners(policy)]
    modules = [owner for owner in originals if isinstance(owner, torch.nn.Module)]
    parameters = {id(p): p for m in modules for p in m._parameters.values() if p is not None}
    if any(torch.nn.parameter.is_lazy(parameter) for parameter in parameters.values()):
        return None
    # A function with a closure is not copied, so it would go on using the policy itself.
    for owner in originals:
        if any(isinstance(v, FunctionType) and v.__closure__ for v in vars(owner).values()):
            return None
    total = sum(parameter.nbytes for parameter in parameters.values())
    memo: dict[int, Any] = {}
    for key, parameter in parameters.items():
        small = total <= _ALL or parameter.nbytes <= _LARGE
        memo[key] = _twin(parameter) if small else parameter
    try:
        result = copy.deepcopy(policy, memo)
    except Exception:
        return None
    known = {id(owner) for owner in originals}
    doubles = [owner for _, owner in owners(result)]
    # A __deepcopy__ that returns the same object isolates nothing, and neither does a function.
    if result is policy or any(id(owner) in known for owner in doubles):
        return None
    # torch's modules are copied without what their __slots__ hold.
    slots = [[slots_of(owner).keys() for owner in side] for side in (originals, doubles)]
    return result if slots[0] == slots[1] else None


def slots_of(owner: Any) -> dict[str, Any]:
    """What an object keeps in the `__slots__` of its class, which `vars` does not tell."""
    named = [vars(cls).get("__slots__", ()) for cls in type(owner).__mro__]
    names = [name for text in named for name in ([text] if isinstance(text, str) else text)]
    places = [name for name in names if not name.startswith("__")]
    return {name: getattr(owner, name) for name in places if hasattr(owner, name)}


def _twin(parameter: torch.nn.Parameter) -> torch.nn.Parameter:
    if type(parameter) is not torch.nn.Parameter:
        return parameter
    twin = torch.nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
    # Parameter.__deepcopy__ would lose them.
    vars(twin).update(vars(parameter))
    return twin


def _keep(value: Any, undo: list[Callable[[], None]], seen: set[int], depth: int) -> None:
    """Adds to `undo` what puts this value's content back, if it can be changed in place."""
    if id(value) in seen or depth > _DEPTH:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        _keep_tensor(value, undo)
    elif isinstance(value, dict):
        items = dict(value)

        def put_items_back() -> None:
            if list(map(id, value.values())) != list(map(id, items.values())) or (
                list(value) != list(items)
            ):
                value.clear()
                value.update(items)

        undo.append(put_items_back)
        for item in items.values():
            _keep(item, undo, seen, depth + 1)
    elif isinstance(value, list | deque | set):
        content = list(value)

        def put_content_back() -> None:
            value.clear()
            (value.update if isinstance(value, set) else value.extend)(content)

        undo.append(put_content_back)
        for item in content:
            _keep(item, undo, seen, depth + 1)
    elif isinstance(value, tuple):
        for item in value:
            _keep(item, undo, seen, depth + 1)
    elif (state := own_state(value)) is not None:
        undo.append(partial(set_own_state, value, state))


def _keep_slots(owner: Any, undo: list[Callable[[], None]], seen: set[int]) -> None:
    for name, value in slots_of(owner).items():
        undo.append(partial(setattr, owner, name, value))
        _keep(value, undo, seen, 1)


def _keep_tensor(value: torch.Tensor, undo: list[Callable[[], None]]) -> None:
    large = isinstance(value, torch.nn.Parameter) and value.nbytes > _LARGE
    if large or torch.nn.parameter.is_lazy(value) or value.layout is not torch.strided:
        return
    kept = value.detach().clone()

    def put_values_back() -> None:
        # A write of equal values would still copy the page of a mapped tensor.
        if not same(value.detach(), kept):
            value.detach().copy_(kept)

    undo.append(put_values_back)


@contextmanager
def seeded(seed: int) -> Iterator[Callable[[], bool]]:
    """Seeds all global generators, and puts them back; yields what tells whether any was used."""
    numpy = sys.modules.get("numpy")
    # Before CUDA is initialised, torch.cuda.manual_seed_all would leave a seed for later.
    cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]

    def states() -> list[Any]:
        tensors = [torch.default_generator.get_state()]
        tensors += torch.cuda.get_rng_state_all() if cuda else []
        kind, words, *rest = numpy.random.get_state() if numpy else ("", b"")
        return [
            random.getstate(),
            (kind, bytes(words), rest),
            *(bytes(t.tolist()) for t in tensors),
        ]

    with kept_rng():
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        if numpy:
            numpy.random.seed(seed)
        if cuda:
            torch.cuda.manual_seed_all(seed)
        first = states()
        yield lambda: states() != first
