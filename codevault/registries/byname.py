"""Registries keyed by names: gymnasium, OmegaConf, hydra's ConfigStore, torch's safe globals."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

from codevault.registries import ledger
from codevault.registries.guard import Rule
from codevault.registries.ledger import Claim
from codevault.registries.registrant import is_for_itself, registering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def resolver_rules(module: Any) -> dict[str, Rule]:
    """The functions of `OmegaConf`: resolvers by name."""
    known = module.BaseContainer
    _guard_question(module.OmegaConf, known)

    def new(
        name: str, resolver: Any, *, replace: bool = False, use_cache: bool = False
    ) -> Iterator[Claim]:
        yield _resolver(known, name, {"resolver": resolver, "use_cache": use_cache})

    def legacy(name: str, resolver: Any) -> Iterator[Claim]:
        yield _resolver(known, name, {"resolver": resolver, "use_cache": None})

    return {
        "OmegaConf.register_new_resolver": Rule(new),
        "OmegaConf.legacy_register_resolver": Rule(legacy),
    }


def _guard_question(omegaconf: Any, container: Any) -> None:
    """Tells who asks before registering only of what would be there without the other versions."""
    real = vars(omegaconf).get("has_resolver")
    if not isinstance(real, classmethod) or hasattr(real.__func__, "__wrapped__"):
        return

    @functools.wraps(real.__func__)
    def has_resolver(cls: Any, name: str) -> bool:
        there: bool = real.__func__(cls, name)
        frame = sys._getframe(1)  # noqa: SLF001
        who = None if is_for_itself(frame) else registering(frame, ())
        if not there or who is None:
            return there
        claim = _resolver(container, name, {})
        return not ledger.is_others(claim.key, (claim.existing or {}).values(), who.splint)

    omegaconf.has_resolver = classmethod(has_resolver)


def _resolver(container: Any, name: str, parts: dict[str, Any]) -> Claim:
    wrapper = container._resolvers.get(name)  # noqa: SLF001
    existing = None
    if wrapper is not None:
        inside = inspect.getclosurevars(wrapper).nonlocals
        existing = {"resolver": inside["resolver"], "use_cache": inside.get("use_cache")}
    return Claim("OmegaConf resolver", name, ("omegaconf", name), parts, existing)


def store_rules(module: Any) -> dict[str, Rule]:
    """The method of `ConfigStore`: nodes by group and name."""
    from omegaconf import OmegaConf

    def store(
        self: Any,
        name: str,
        node: Any,
        group: str | None = None,
        package: str | None = None,
        **_: Any,
    ) -> Iterator[Claim]:
        file = name if name.endswith(".yaml") else f"{name}.yaml"
        place = self.repo
        for folder in group.split("/") if group else ():
            place = place.get(folder, {})
        there = place.get(file)
        path = f"{group}/{name}" if group else name
        parts = {"node": node, "package": package}
        existing = None
        if there is not None:
            existing = {**_content(OmegaConf, there.node), "package": there.package}
            parts = {**_content(OmegaConf, OmegaConf.structured(node)), "package": package}
        yield Claim("hydra config", path, ("hydra", path), parts, existing)

    return {"ConfigStore.store": Rule(store)}


def _content(omegaconf: Any, node: Any) -> dict[str, Any]:
    """A configuration as its class and its values."""
    values: Callable[..., Any] = omegaconf.to_container
    return {"class": omegaconf.get_type(node), "values": values(node, resolve=False)}


def environment_rules(module: Any) -> dict[str, Rule]:
    """The function of `gymnasium.envs.registration`, whose signature grows with its versions."""
    original = module.register
    signature = functools.cache(inspect.signature)  # when first needed: imports shall cost nothing

    def register(*args: Any, **options: Any) -> Iterator[Claim]:
        bound = signature(original).bind(*args, **options)
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


def safe_global_rules(module: Any) -> dict[str, Rule]:
    """The function of `torch.serialization`: a name in files may stand for a class of another."""

    def add(safe_globals: Any) -> Iterator[Claim]:
        known: dict[str, Any] = dict(
            entry[::-1] for entry in module.get_safe_globals() if isinstance(entry, tuple)
        )
        for thing, name in (entry for entry in safe_globals if isinstance(entry, tuple)):
            existing = {"object": known[name]} if name in known else None
            yield Claim("safe global", name, ("safe global", name), {"object": thing}, existing)

    return {"add_safe_globals": Rule(add)}
