"""What CI holds benchmarks to: counts, operators and bytes, in which no clock has part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks import compiling
from benchmarks.warm_load import CALLS, OPENS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Figures = dict[str, Any]

ANONYMOUS: Final = 0.02
"""Memory of its own that a load of weights may take, as a part of their size."""

WIRE: Final = 1.1
"""Bytes of a whole tree on the wire against git's; of a sub-tree it may be half of them."""


def _forward(figures: Figures) -> Iterator[str]:
    for row in figures["rows"]:
        if row["differences"]:
            yield f"{row['policy']}: {row['differences']}"


def _warm_load(figures: Figures) -> Iterator[str]:
    for row in figures["rows"]:
        if row["opens"] > OPENS or row["calls"] > CALLS:
            yield f"{row['modules']} modules: {row['opens']} opens, {row['calls']} calls"


def _second_prefetch(figures: Figures) -> Iterator[str]:
    if figures["requests"]["second"]:
        yield f"a second prefetch asked {figures['requests']['second']} times"


def _league(figures: Figures) -> Iterator[str]:
    if figures["memory"] != "flat":
        yield f"memory of a league {figures['memory']}"


def _compiling(figures: Figures) -> Iterator[str]:
    for row in figures["rows"]:
        if compiling.missed(row):
            yield f"{row['graphs']} of {row['versions']} compiled, {row['wrong']} outputs differ"


def _weights(figures: Figures) -> Iterator[str]:
    if figures["anonymous_share"] > ANONYMOUS:
        yield f"weights took {figures['anonymous_share']:.1%} of their size in memory of their own"


def _cold_fetch(figures: Figures) -> Iterator[str]:
    for way, count in figures["bytes"].items():
        limit = WIRE if way in ("git", "codevault, whole tree") else WIRE / 2
        if count > limit * figures["bytes"]["git"]:
            yield f"{way}: {count} bytes on the wire, and git's {figures['bytes']['git']}"


_CHECKS: Final[dict[str, Callable[[Figures], Iterator[str]]]] = {
    "gpu_forward": _forward,
    "warm_load": _warm_load,
    "second_prefetch": _second_prefetch,
    "league": _league,
    "compiling": _compiling,
    "weights": _weights,
    "cold_fetch": _cold_fetch,
}


def missed(name: str, figures: Figures) -> list[str]:
    """What of a benchmark's figures must not be, each with its count."""
    return list(_CHECKS[name](figures)) if name in _CHECKS else []
