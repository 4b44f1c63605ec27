"""All checks of the audit, in the order in which they are read, told and put back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from codevault.audits import (
    interpreter,
    logs,
    numeric,
    patches,
    registries,
    seeds,
    system,
    torchsettings,
    torchstate,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault.audits.check import Check

_FIXED: Final[tuple[Check, ...]] = (
    *torchstate.CHECKS,
    *torchsettings.CHECKS,
    *seeds.CHECKS,
    *numeric.CHECKS,
    *registries.CHECKS,
    *interpreter.CHECKS,
    *system.CHECKS,
    *logs.CHECKS,
)


def checks(shared: Sequence[str]) -> tuple[Check, ...]:
    """The checks for a snapshot that shares these names."""
    return (*_FIXED, *patches.sweep(shared))
