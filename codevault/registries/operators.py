"""Operators of torch as they reach its dispatcher: `torch.library.Library` and what ends there.

Guarded are the methods by which everything in Python registers, however a function was imported,
and those functions of `torch.library` that wrap what they are given beyond recognition.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

from codevault.registries import ledger
from codevault.registries.guard import Rule
from codevault.registries.ledger import Claim, Unreadable
from codevault.registries.registrant import Registrant, at, is_for_itself, outside, registering

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHIN: Final = ("torch.library", "torch._library", "torch._ops", "torch._compile", "functools")
_WORD: Final = "torch operator"
_UNREADABLE: Final = {"function": Unreadable}
_COMPOSITE: Final = ("CompositeExplicitAutograd", "CompositeImplicitAutograd")
_BACKENDS: Final = frozenset({"CPU", "CUDA", "XPU", "MPS", "HPU", "XLA", "MTIA", "PrivateUse1"})
"""A kernel for one of these runs instead of a composite one that is there already."""


def rules(module: Any) -> dict[str, Rule]:
    """The methods and functions of `torch.library`."""
    _guard_namespaces()
    return {
        "Library.define": Rule(_define),
        "Library.impl": Rule(_impl),
        "Library.fallback": Rule(_fallback),
        "Library._register_fake": Rule(_register_fake, levels="_stacklevel"),
        "Library._register_torch_dispatch_rule": Rule(_register_torch_dispatch),
        "Library._register_effectful_op": Rule(_register_effect),
        "register_autograd": Rule(_register_autograd),
        "register_autocast": Rule(_register_autocast),
        "register_vmap": Rule(_register_vmap, slot=1),
    }


def _define(self: Any, schema: str, alias_analysis: str = "", *, tags: Any = ()) -> Iterator[Claim]:
    import torch

    name, _, overload = schema.split("(")[0].partition(".")
    operator = f"{self.ns}::{name}"
    tags = (tags,) if isinstance(tags, torch.Tag) else tags
    existing = None
    if torch._C._dispatch_has_kernel(f"{operator}.{overload}" if overload else operator):  # noqa: SLF001
        known = torch._C._get_schema(operator, overload)  # noqa: SLF001
        _, _, its = torch._C._get_operation_overload(operator, overload)  # noqa: SLF001
        existing = {"schema": str(known), "tags": _sorted(its)}
    whole = torch._C.parse_schema(f"{self.ns}::{schema}")  # noqa: SLF001
    parts = {"schema": str(whole), "tags": _sorted(tags)}
    key = ("define", f"{operator}.{overload}" if overload else operator)
    holder = place(key[1], "debug") if existing else None
    yield Claim(_WORD, key[1], key, parts, existing, accepted=name, keep=self, holder=holder)


def _impl(
    self: Any, op_name: Any, fn: Any, dispatch_key: str = "", *, with_keyset: bool = False, **_: Any
) -> Iterator[Claim]:
    operator = _operator(self, op_name)
    kind = dispatch_key or self.dispatch_key or "CompositeImplicitAutograd"
    existing = _kernel(operator, kind)
    for composite in _COMPOSITE if kind in _BACKENDS else ():
        existing = existing or _kernel(operator, composite)
    yield Claim(
        _WORD,
        f"{operator} for {kind}",
        ("impl", operator, kind),
        {"function": fn, "with_keyset": with_keyset},
        existing,
        under=("define", operator),
        keep=self,
        holder=place(operator, kind) if existing is _UNREADABLE else None,
    )


def place(operator: str, kind: str) -> Registrant | None:
    """Who registered a kernel, by the place that torch keeps for its messages."""
    from torch import _C

    dump = _C._dispatch_dump(operator)  # noqa: SLF001
    found = re.search(rf"^{kind}\b.*registered at (.*?):(\d+)( ::|$)", dump, re.MULTILINE)
    return at(found[1], int(found[2])) if found else None


def _kernel(operator: str, kind: str) -> ledger.Parts | None:
    """The kernel that Python code registered: torch tells that there is one, not which."""
    from torch import library

    namespace, _, name = operator.partition("::")
    kinds = (kind, "") if kind == "CompositeImplicitAutograd" else (kind,)
    if not any(f"{namespace}/{name}/{k}" in library._impls for k in kinds):  # noqa: SLF001
        return None
    return ledger.parts(("impl", operator, kind)) or _UNREADABLE


def _fallback(
    self: Any, fn: Any, dispatch_key: str = "", *, with_keyset: bool = False
) -> Iterator[Claim]:
    kind = dispatch_key or self.dispatch_key
    key = ("fallback", kind)
    parts = {"function": fn, "with_keyset": with_keyset}
    name = f"fallback for {kind}"
    yield Claim(_WORD, name, key, parts, ledger.parts(key), keep=self)


def _register_fake(self: Any, op_name: Any, fn: Any, *_: Any, **__: Any) -> Iterator[Claim]:
    from torch._library import simple_registry

    operator = _operator(self, op_name)
    entry = simple_registry.singleton.get(operator)
    existing = None
    if entry is not None and entry.fake_impl.kernel is not None:
        known = entry.fake_impl.kernel.func
        existing = {"function": inside(known, "func") if _is_checked(known) else known}
    name = f"{operator} for fake tensors"
    yield Claim(
        _WORD, name, ("fake", operator), {"function": fn}, existing, under=("define", operator)
    )


def _is_checked(function: Any) -> bool:
    return str(getattr(function, "__qualname__", "")).startswith("_check_pystubs_once.")


def _register_torch_dispatch(
    self: Any, op_name: Any, torch_dispatch_class: Any, fn: Any
) -> Iterator[Claim]:
    from torch._library import simple_registry

    operator = _operator(self, op_name)
    entry = simple_registry.singleton.get(operator)
    known = None if entry is None else entry.torch_dispatch_rules.find(torch_dispatch_class)
    yield Claim(
        _WORD,
        f"{operator} for {torch_dispatch_class.__qualname__}",
        ("torch_dispatch", operator, torch_dispatch_class),
        {"function": fn},
        None if known is None else {"function": known},
        under=("define", operator),
        accepted=fn,
    )


def _register_effect(self: Any, op_name: Any, effect: Any) -> Iterator[Claim]:
    from torch._library import simple_registry

    operator = _operator(self, op_name)
    entry = simple_registry.singleton.get(operator)
    known = None if entry is None else entry.effect.effect
    yield Claim(
        _WORD,
        f"{operator} for effects",
        ("effect", operator),
        {"effect": str(effect)},
        None if known is None else {"effect": str(known)},
        under=("define", operator),
    )


def _register_autograd(
    op: Any, backward: Any, /, *, setup_context: Any = None, lib: Any = None
) -> Iterator[Claim]:
    yield from _wrapped(op, "Autograd", {"backward": backward, "setup_context": setup_context})


def _register_vmap(op: Any, func: Any, /, *, lib: Any = None) -> Iterator[Claim]:
    yield from _wrapped(op, "FuncTorchBatched", {"function": func})


def _register_autocast(
    op: Any, device_type: str, cast_inputs: Any, /, *, lib: Any = None
) -> Iterator[Claim]:
    yield from _wrapped(op, f"Autocast for {device_type}", {"dtype": str(cast_inputs)})


def _wrapped(op: Any, kind: str, parts: ledger.Parts) -> Iterator[Claim]:
    """What is registered as a kernel that torch makes around it, unless a CustomOpDef takes it."""
    from torch._library import custom_ops

    name = op if isinstance(op, str) else getattr(op, "_name", op)
    if isinstance(name, str) and name not in custom_ops.OPDEFS:
        key = ("wrapped", name, kind)
        alive = kind.startswith("Autocast") or _kernel(name, kind) is not None
        existing = ledger.parts(key) if alive else None
        yield Claim(_WORD, f"{name} for {kind}", key, parts, existing, under=("define", name))


def _guard_namespaces() -> None:
    """Lets a second version open a namespace with `Library(..., "DEF")`: each operator is compared.

    The function below the constructor is taken, which looks at its caller's frame.
    """
    from torch import _C

    if hasattr(_C._dispatch_library, "__wrapped__"):  # noqa: SLF001
        return
    real: Any = _C._dispatch_library  # noqa: SLF001

    def dispatch_library(kind: str, name: str, *rest: Any) -> Any:
        if kind != "DEF":
            return real(kind, name, *rest)
        frame = outside(sys._getframe(1), ("torch.library",))  # noqa: SLF001
        who = None if frame is None or is_for_itself(frame) else registering(frame, ())
        key = ("namespace", name)
        try:
            made = real(kind, name, *rest)
        except RuntimeError:
            holders = ledger.registrants(key) or (Registrant(None),)
            if who is None or all(h.splint == who.splint and not h.is_unloaded for h in holders):
                raise
            return real("FRAGMENT", name, *rest)
        if who is not None:
            ledger.record(Claim("torch namespace", name, key, {}, None), who)
        return made

    dispatch_library.__wrapped__ = real  # type: ignore[attr-defined]
    vars(_C)["_dispatch_library"] = dispatch_library


def _operator(library: Any, op_name: Any) -> str:
    name = op_name if isinstance(op_name, str) else op_name._name  # noqa: SLF001
    return f"{library.ns}::{name.split('::')[-1]}"


def _sorted(tags: Any) -> list[str]:
    return sorted(map(str, tags))


def inside(function: Any, name: str) -> Any:
    """What a closure of torch's holds under a name; it stands for the function if it has none."""
    function = getattr(function, "__wrapped__", function)
    code = getattr(function, "__code__", None)
    if code is None or name not in code.co_freevars:
        return Unreadable
    return function.__closure__[code.co_freevars.index(name)].cell_contents
