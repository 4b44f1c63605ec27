"""The page's table of forward passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.sections import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    Run = dict[str, Any]

HEAD = (
    "device",
    "policy",
    "batch",
    "clock",
    "native, µs",
    "one process",
    "control",
    "planted",
    "isolated",
    "by the wall clock",
    "verdict",
)


def gpu_forward(runs: Sequence[Run]) -> str:
    rows = [
        [
            run["figures"]["device"].get("name", "CPU"),
            row["policy"],
            row["batch"],
            row["clock"],
            f"{row['native_us']:,.0f}",
            f"±{row['spread']:.2%}",
            *(interval(row[arm]) for arm in ("again", "planted", "isolated")),
            "" if row["wall"] is None else interval(row["wall"]["isolated"]),
            row["verdict"],
        ]
        for run in runs
        for row in run["figures"]["rows"]
    ]
    counts = [f"{len(run['figures']['processes'])} processes.\n" for run in runs]
    kinds = {run["figures"]["device"]["kind"] for run in runs}
    without = [] if "cuda" in kinds else ["No GPU was at hand: there is no GPU figure here.\n"]
    return "\n".join([table(HEAD, rows), *counts, *without])


def interval(ratio: dict[str, float] | None) -> str:
    if ratio is None:
        return "not claimed"
    return f"{ratio['median']:.4f} [{ratio['low']:.4f}, {ratio['high']:.4f}]"
