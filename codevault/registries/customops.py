"""Operators of torch that are made by `custom_op` and `triton_op`: the class behind both."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from codevault.registries.guard import Rule, guard
from codevault.registries.ledger import Claim
from codevault.registries.operators import WITHIN, inside

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD: Final = "torch operator"


def rules(module: Any) -> dict[str, Rule]:
    """The methods of `CustomOpDef`; its constructor gives the operator that is there if equal."""
    _guard_constructor(module.CustomOpDef, module.OPDEFS)
    return {
        "CustomOpDef.register_kernel": Rule(_register_kernel, slot=2),
        "CustomOpDef.register_fake": Rule(_register_fake),
        "CustomOpDef.register_autograd": Rule(_register_autograd),
        "CustomOpDef.register_autocast": Rule(_register_autocast),
        "CustomOpDef.register_vmap": Rule(_register_vmap, slot=1),
        "CustomOpDef.register_torch_dispatch": Rule(_register_torch_dispatch, slot=2),
    }


def _guard_constructor(cls: Any, defined: Any) -> None:
    if "__new__" in vars(cls):
        return

    real = cls.__init__

    def new(cls: Any, *args: Any, **options: Any) -> Any:
        made = object.__new__(cls)
        if args or options:  # else it is a copy, which gets its state from the original
            real(made, *args, **options)
        return made

    def claim(
        cls: Any, namespace: str, name: str, schema: str, fn: Any, tags: Any = None
    ) -> Iterator[Claim]:
        operator = f"{namespace}::{name}"
        known = defined.get(operator)
        yield Claim(
            _WORD,
            operator,
            ("define", operator),
            _parts(schema, fn, tags),
            None if known is None else _parts(known._schema, known._init_fn, known._tags),  # noqa: SLF001
            accepted=known,
        )

    @functools.wraps(real)
    def init(self: Any, *_: Any, **__: Any) -> None:
        """The operator is complete: made by `new`, or there before."""

    cls.__new__ = staticmethod(guard(new, Rule(claim), WITHIN))
    cls.__init__ = init


def _parts(schema: str, function: Any, tags: Any) -> dict[str, Any]:
    if tags is None:
        tags = ()
    named = tags if isinstance(tags, list | tuple) else (tags,)
    return {"schema": schema, "function": function, "tags": sorted(map(str, named))}


def _register_kernel(self: Any, device_types: Any, fn: Any, /) -> Iterator[Claim]:
    one = device_types is None or isinstance(device_types, str)
    known = self._backend_fns
    for kind in [device_types] if one else device_types:
        serving = known.get(kind, known.get(None))  # one for all devices serves this one, too
        yield Claim(
            _WORD,
            f"{self._qualname} for {kind or 'all devices'}",
            ("kernel", self._qualname, kind),
            {"function": fn},
            None if serving is None else {"function": inside(serving, "fn")},
            accepted=fn,
            under=("define", self._qualname),
        )


def _register_fake(self: Any, fn: Any, /) -> Iterator[Claim]:
    yield _claim(self, "fake tensors", {"function": fn}, {"function": self._abstract_fn}, fn)


def _register_autograd(
    self: Any, backward: Any, /, *, setup_context: Any = None
) -> Iterator[Claim]:
    known = {"backward": self._backward_fn, "setup_context": self._setup_context_fn}
    parts = {"backward": backward, "setup_context": setup_context}
    yield _claim(self, "autograd", parts, known, None)


def _register_autocast(self: Any, device_type: str, cast_inputs: Any) -> Iterator[Claim]:
    known = self._autocast_dtype.get(device_type)
    kind = f"autocast on {device_type}"
    yield _claim(self, kind, {"dtype": cast_inputs}, {"dtype": known}, None)


def _register_vmap(self: Any, func: Any) -> Iterator[Claim]:
    yield _claim(self, "vmap", {"function": func}, {"function": self._vmap_fn}, None)


def _register_torch_dispatch(self: Any, torch_dispatch_class: Any, fn: Any, /) -> Iterator[Claim]:
    known = self._torch_dispatch_fns.get(torch_dispatch_class)
    kind = torch_dispatch_class.__qualname__
    yield _claim(self, kind, {"function": fn}, {"function": known}, fn)


def _claim(
    self: Any, kind: str, parts: dict[str, Any], known: dict[str, Any], accepted: Any
) -> Claim:
    """A registration besides the operator itself; whoever defined the operator stands behind it."""
    name = self._qualname
    first = next(iter(known.values()))
    existing = None if first is None else known
    return Claim(
        _WORD, f"{name} for {kind}", (kind, name), parts, existing, accepted, ("define", name)
    )
