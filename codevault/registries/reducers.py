"""Functions that take objects apart for pickles and copies: `copyreg`, by class."""

from __future__ import annotations

import copyreg
from typing import TYPE_CHECKING, Any

from codevault.registries.guard import Rule
from codevault.registries.ledger import Claim
from codevault_importhook.naming import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator


def rules(module: Any) -> dict[str, Rule]:
    """The function of `copyreg`."""
    return {"pickle": Rule(_pickle)}


def _pickle(ob_type: Any, pickle_function: Any, constructor_ob: Any = None) -> Iterator[Claim]:
    if str(ob_type.__module__).startswith(PREFIX):
        return  # a snapshot's own class
    known = copyreg.dispatch_table.get(ob_type)
    yield Claim(
        "reduction function",
        f"{ob_type.__module__}.{ob_type.__qualname__}",
        ("copyreg", ob_type),
        {"function": pickle_function},
        None if known is None else {"function": known},
    )
