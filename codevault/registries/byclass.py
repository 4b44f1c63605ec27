"""Registries keyed by classes of others: torch's and optree's tree nodes, and copyreg."""

from __future__ import annotations

import copyreg
from typing import TYPE_CHECKING, Any, Final

from codevault.registries.guard import Rule
from codevault.registries.ledger import Claim
from codevault_importhook.naming import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

TREES: Final = ("torch.utils._pytree", "torch.utils._cxx_pytree", "optree", "functools")


def torch_rules(module: Any) -> dict[str, Rule]:
    """The functions of `torch.utils._pytree`: one that refuses, and one below it that replaces."""

    def register(
        cls: Any,
        flatten_fn: Any,
        unflatten_fn: Any,
        *,
        serialized_type_name: Any = None,
        to_dumpable_context: Any = None,
        from_dumpable_context: Any = None,
        flatten_with_keys_fn: Any = None,
    ) -> Iterator[Claim]:
        if _is_own(cls):
            return
        known, existing = module.SUPPORTED_NODES.get(cls), None
        if known is not None:
            names = module.SUPPORTED_SERIALIZED_TYPES.get(cls)
            existing = {
                "flatten": known.flatten_fn,
                "unflatten": known.unflatten_fn,
                "flatten with keys": getattr(known, "flatten_with_keys_fn", None),
                "to_dumpable_context": getattr(names, "to_dumpable_context", None),
                "from_dumpable_context": getattr(names, "from_dumpable_context", None),
                "serialized_type_name": getattr(names, "serialized_type_name", unnamed),
            }
        parts = {
            "flatten": flatten_fn,
            "unflatten": unflatten_fn,
            "flatten with keys": flatten_with_keys_fn,
            "to_dumpable_context": to_dumpable_context,
            "from_dumpable_context": from_dumpable_context,
            "serialized_type_name": serialized_type_name or unnamed,
        }
        yield Claim("torch pytree node", _label(cls), ("torch pytree", cls), parts, existing)

    unnamed = getattr(module, "NO_SERIALIZED_TYPE_NAME_FOUND", None)
    rule = Rule(register)
    return {"register_pytree_node": rule, "_private_register_pytree_node": rule}


def optree_rules(module: Any) -> dict[str, Rule]:
    """The function of `optree.registry`; torch's own C++ trees are its namespace `torch`."""

    def register(
        cls: Any, /, flatten_func: Any, unflatten_func: Any, *, namespace: Any, **more: Any
    ) -> Iterator[Claim]:
        if _is_own(cls):
            return
        registry = module._NODETYPE_REGISTRY  # noqa: SLF001
        known = registry.get((namespace, cls) if isinstance(namespace, str) else cls)
        entry = more.get("path_entry_type", module.AutoEntry)
        yield Claim(
            "optree pytree node",
            f"{_label(cls)} in namespace {namespace}",
            ("optree", str(namespace), cls),
            {"flatten": flatten_func, "unflatten": unflatten_func, "path entries": entry},
            None
            if known is None
            else {
                "flatten": known.flatten_func,
                "unflatten": known.unflatten_func,
                "path entries": known.path_entry_type,
            },
            accepted=cls,
        )

    return {"register_pytree_node": Rule(register)}


def copyreg_rules(module: Any) -> dict[str, Rule]:
    """The function of `copyreg`."""
    return {"pickle": Rule(_pickle)}


def _pickle(ob_type: Any, pickle_function: Any, constructor_ob: Any = None) -> Iterator[Claim]:
    if _is_own(ob_type):
        return
    known = copyreg.dispatch_table.get(ob_type)
    yield Claim(
        "reduction function",
        _label(ob_type),
        ("copyreg", ob_type),
        {"function": pickle_function},
        None if known is None else {"function": known},
    )


def _is_own(cls: Any) -> bool:
    """Whether it is a snapshot's: then it is the only one of its key."""
    return str(cls.__module__).startswith(PREFIX)


def _label(cls: Any) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
