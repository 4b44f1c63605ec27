"""The refusal: two pieces of code want the same place in a registry, and differ."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import codevault_importhook as hook
from codevault.errors import RegistrationError

if TYPE_CHECKING:
    from codevault.registries.registrant import Registrant


def refusal(
    registry: str, name: str, first: Registrant, second: Registrant, where: str
) -> RegistrationError:
    """The error that names both registrants.

    Args:
        registry: What is registered, such as `torch operator`.
        name: Under which name.
        first: Who holds the name.
        second: Who is refused.
        where: In what the two differ.
    """
    return RegistrationError(
        f"{registry} {name!r} is registered by {first}, and {second} registers other code for it",
        f"a process has one {registry} of a name, so one version would run the other's code; "
        f"they differ: {where}",
        _hint(first, second),
    )


def _hint(first: Registrant, second: Registrant) -> str:
    old = first if second.splint is None else second
    module = hook.strip(old.module)
    if None in (first.splint, second.splint) and module in sys.modules:
        return (
            f'codevault.load_code(repo, commit, shared=["{module}"])'
            "  # both then use the application's"
        )
    if first.library:
        file = f"{module.replace('.', '/')}.py"
        return (
            f'codevault.load_code(repo, commit, overlay={{"{file}": "..."}})'
            "  # the old code without the registration"
        )
    return (
        'multiprocessing.get_context("spawn").Process(target=...).start()'
        "  # load one of the two there, in a process of its own"
    )
