"""Torch operators that a version names and somebody else registered: it computes with theirs.

Code that asks torch before it registers (`if not hasattr(torch.ops.x, "y"):`) registers nothing
where another version was first, so that there is nothing to compare. Its text names the operator.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from codevault.audits.findings import Finding
from codevault.registries import ledger
from codevault.registries.operators import place
from codevault.registries.registrant import behind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from codevault.audits.blame import Blame
    from codevault.registries.registrant import Registrant

_of_libraries: set[str] = set()


def borrowed(splint: str, shared: Sequence[str], blame: Blame) -> Iterator[Finding]:
    """The operators that a version names and the application or another version registered.

    Args:
        splint: The version's name; empty for none.
        shared: Dotted prefixes of the modules that it shares with the application.
        blame: Has its text, which is read only where somebody else registered.

    Yields:
        A finding for each operator that it did not register.
    """
    library = sys.modules.get("torch.library")
    for operator in sorted(getattr(library, "_defs", ())) if splint else ():
        holder = None if operator in _of_libraries else _other(operator, splint, shared)
        if holder is not None and _names(blame.text, operator.partition(".")[0]):
            name = f"torch operator {operator!r}"
            yield Finding(name, "registries", "its own", f"that of {holder}", True, False)


def _other(operator: str, splint: str, shared: Sequence[str]) -> Registrant | None:
    """Who registered an operator, unless that is the version itself, a library, or shared code."""
    holders = ledger.registrants(("define", operator))
    if not holders:
        holder = _unseen(operator)
        if holder is None or holder.library:
            _of_libraries.add(operator)
            return None
        holders = (holder,)
    for who in holders:
        is_shared = any(f"{who.module}.".startswith(f"{prefix}.") for prefix in shared)
        is_known = who.splint == splint or who.library or not who.module
        if is_known or (who.splint is None and is_shared):
            return None
    return holders[0]


def _unseen(operator: str) -> Registrant | None:
    """Who registered an operator before anybody looked, as far as torch tells."""
    custom = sys.modules.get("torch._library.custom_ops")
    made = getattr(custom, "OPDEFS", {}).get(operator)
    if made is not None:
        return behind([made._init_fn])  # noqa: SLF001
    try:
        return place(operator, "debug")
    except RuntimeError:  # torch itself defines some by texts that are no names
        return None


def _names(text: str, operator: str) -> bool:
    namespace, _, name = map(re.escape, operator.partition("::"))
    spellings = (
        rf"\b{namespace}::{name}\b",
        rf"\bops\.{namespace}\.{name}\b",
        rf"attr\([^()]*\bops\.{namespace}\s*,\s*['\"]{name}['\"]",
    )
    return any(re.search(spelling, text) for spelling in spellings)
