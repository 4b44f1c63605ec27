# ruff: noqa: SLF001
# Registries are rarely public; each is read where its library keeps it.
"""Checks of registries that the whole process shares, keyed by names or by classes of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from codevault.audits.check import ABSENT, Change, Check, entries, setting
from codevault.audits.wording import is_own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_AREA: Final = "registries"
_QUOTED: Final = (r"['\"]{key}['\"]",)
_WORD: Final = (r"\b{key}\b",)


def _tail(key: Any) -> str:
    """How text spells an operator, `ns::op.overload`, or a class."""
    if isinstance(key, tuple):
        return "|".join(map(_tail, key))
    name = getattr(key, "__name__", None) or str(key)
    return str(name).rpartition("::")[2].partition(".")[0]


def _implemented(key: Any) -> str:
    return _tail(str(key).split("/")[1])


def _names(attribute: str) -> Callable[[Any], Mapping[str, Any]]:
    """A set of a library, copied whole: it has thousands of names."""
    return lambda library: {"": frozenset(getattr(library, attribute))}


def _news(*, own: bool) -> Callable[[Any, Any], Iterator[Change]]:
    """The names that were added to a set: those of torch's operators, or all others."""

    def differ(before: Any, after: Any) -> Iterator[Change]:
        for name in sorted(after[""] - before[""]):
            if name.startswith(("aten/", "prims/")) == own:
                yield Change(name, ABSENT, True)

    return differ


def _put_node(pytree: Any, key: Any, value: Any) -> None:
    if value is ABSENT:
        pytree._deregister_pytree_node(key)
    else:
        pytree.SUPPORTED_NODES[key] = value


def _safe_globals(serialization: Any) -> frozenset[Any]:
    return frozenset(entry for entry in serialization.get_safe_globals() if not is_own(entry))


def _put_safe_globals(serialization: Any, before: frozenset[Any]) -> None:
    own = list(filter(is_own, serialization.get_safe_globals()))
    serialization.clear_safe_globals()
    serialization.add_safe_globals([*before, *own])


def _optree(registry: Any) -> Mapping[Any, Any]:
    return dict(registry._NODETYPE_REGISTRY)


def _hydra(store: Any) -> Mapping[str, Any]:
    """By path: the configuration of each node."""
    found: dict[str, Any] = {}

    def walk(node: Any, path: str) -> None:
        for name, inner in node.items():
            if isinstance(inner, dict):
                walk(inner, f"{path}{name}/")
            else:
                found[f"{path}{name}"] = inner

    walk(store.ConfigStore.instance().repo, "")
    return found


def _put_hydra(store: Any, path: str, value: Any) -> None:
    *groups, name = path.split("/")
    node = store.ConfigStore.instance().repo
    for group in groups:
        node = node[group]
    if value is ABSENT:
        del node[name]
    else:
        node[name] = value


def _constructors(yaml: Any) -> Mapping[tuple[str, str], Any]:
    loaders = [n for n in ("SafeLoader", "FullLoader", "Loader", "CSafeLoader") if hasattr(yaml, n)]
    return {
        (name, str(tag)): made
        for name in loaders
        for tag, made in getattr(yaml, name).yaml_constructors.items()
    }


def _put_constructor(yaml: Any, key: tuple[str, str], value: Any) -> None:
    constructors = getattr(yaml, key[0]).yaml_constructors
    tag = None if key[1] == "None" else key[1]
    if value is ABSENT:
        constructors.pop(tag, None)
    else:
        constructors[tag] = value


CHECKS: Final[tuple[Check, ...]] = (
    Check(
        "registrations that were refused, and passed over",
        _AREA,
        "codevault.registries.ledger",
        lambda ledger: dict(ledger.refused),
        alters="always",
    ),
    Check(
        "torch operators defined",
        _AREA,
        "torch.library",
        _names("_defs"),
        blame=_QUOTED,
        spell=_tail,
        diff=_news(own=False),
    ),
    Check(
        "torch's own operators overridden",
        _AREA,
        "torch.library",
        _names("_impls"),
        alters="always",
        diff=_news(own=True),
        blame=(r"['\"](aten::)?{key}\b",),
        spell=_implemented,
    ),
    Check(
        "torch operators implemented",
        _AREA,
        "torch.library",
        _names("_impls"),
        diff=_news(own=False),
        blame=(r"\b{key}\b",),
        spell=_implemented,
    ),
    Check(
        "torch custom operators",
        _AREA,
        "torch._library.custom_ops",
        lambda ops: dict(ops.OPDEFS),
        alters="replaced",
        blame=(r"\b{key}\b",),
        spell=_tail,
    ),
    Check(
        "torch pytree nodes",
        _AREA,
        "torch.utils._pytree",
        lambda pytree: dict(pytree.SUPPORTED_NODES),
        _put_node,
        "replaced",
        _WORD,
        _tail,
    ),
    Check("optree nodes", _AREA, "optree.registry", _optree, None, "replaced", _WORD, _tail),
    setting(
        "classes that torch.load takes",
        _AREA,
        "torch.serialization",
        _safe_globals,
        _put_safe_globals,
        blame=(r"\b(add|clear)_safe_globals\b",),
    ),
    entries(
        "divergences of distributions",
        _AREA,
        "torch.distributions.kl",
        lambda kl: kl._KL_REGISTRY,
        alters="replaced",
        blame=_WORD,
        spell=_tail,
    ),
    entries(
        "gymnasium environments",
        _AREA,
        "gymnasium.envs.registration",
        lambda registration: registration.registry,
        alters="replaced",
        blame=_QUOTED,
    ),
    entries(
        "gym environments",
        _AREA,
        "gym.envs.registration",
        lambda r: getattr(r.registry, "env_specs", r.registry),
        alters="replaced",
        blame=_QUOTED,
    ),
    entries(
        "OmegaConf resolvers",
        _AREA,
        "omegaconf.basecontainer",
        lambda container: container.BaseContainer._resolvers,
        alters="replaced",
        blame=_QUOTED,
    ),
    entries(
        "transformers configurations",
        _AREA,
        "transformers.models.auto.configuration_auto",
        lambda auto: auto.CONFIG_MAPPING._extra_content,
        alters="replaced",
        blame=_QUOTED,
    ),
    entries(
        "timm models",
        _AREA,
        "timm.models._registry",
        lambda registry: registry._model_entrypoints,
        alters="replaced",
        blame=_WORD,
    ),
    Check(
        "hydra configurations",
        _AREA,
        "hydra.core.config_store",
        _hydra,
        _put_hydra,
        "replaced",
        (r"\bConfigStore\b",),
    ),
    Check(
        "YAML constructors",
        _AREA,
        "yaml",
        _constructors,
        _put_constructor,
        "replaced",
        (r"\badd_(multi_)?constructor\b", r"\byaml_tag\b"),
    ),
)
