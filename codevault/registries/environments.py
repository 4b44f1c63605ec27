"""Environment ids: gymnasium."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from codevault.registries.guard import Rule
from codevault.registries.ledger import Claim

if TYPE_CHECKING:
    from collections.abc import Iterator


def rules(module: Any) -> dict[str, Rule]:
    """The function of `gymnasium.envs.registration`, whose signature grows with its versions."""
    bind = inspect.signature(module.register).bind

    def register(*args: Any, **options: Any) -> Iterator[Claim]:
        bound = bind(*args, **options)
        bound.apply_defaults()
        given = dict(bound.arguments)
        space, name, version = module.parse_env_id(given.pop("id"))
        if module.current_namespace is not None:
            space = module.current_namespace
        full = module.get_env_id(space, name, version)
        known = module.registry.get(full)
        parts = {k: v for k, v in given.items() if known is None or hasattr(known, k)}
        if "kwargs" in parts:
            parts["kwargs"] = _flat(parts["kwargs"])
        yield Claim(
            "environment id",
            full,
            ("gymnasium", full),
            parts,
            None if known is None else {k: getattr(known, k) for k in parts},
        )

    return {"register": Rule(register)}


def _flat(options: Any) -> Any:
    """Before 1.0 gymnasium takes `kwargs=` as one of its further options."""
    if isinstance(options, dict) and isinstance(options.get("kwargs"), dict):
        return options["kwargs"]
    return options or {}
