"""The page `docs/probe.md`, written from what `benchmarks.probe_alarms` measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.probe_cases import WIDE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


PAGE: Final = Path(__file__).parents[1] / "docs/probe.md"

_SPOKEN: Final = ("float64", "float32", "float16", "bfloat16")
_TEXT: Final = """\
# The probe

A checkpoint carries fixed observations and what the policy gave for them when it was saved. Each
load replays them: "it loaded" also means "it behaves". This page says how far that can be relied
on. It is written by `python -m benchmarks.probe_alarms` from what it measured.

## What a replay does

The policy is copied, put into eval mode and full precision, seeded, and run on the recorded
observations; its buffers, recurrent state, mode and the process's random numbers stay as they were.
A list of observations is one a step, played in order with the memory carried on.

An output may differ from what was recorded by a part of its largest recorded value:
{tolerances}.
Integers (actions, greedy choices) must be equal, except between near ties: where noise within these
tolerances gives what was recorded. Outputs that depend on random numbers are compared where the
device is of the recorded kind.

## False alarms

{probes} probes of {count} policies, recorded with torch {torch} ({threads} threads, {cpu}), in
{dtypes} where the policy takes them, in batches of 1 and 64. Each was
replayed in a fresh process with the same weights. *Closest* is the largest difference, as a part
of what would be an alarm. Other interpreters replay the policies whose packages they have.

{policies}

| what differed from the save | replays | false alarms | closest, float32 | closest, others |
|---|---|---|---|---|
{alarms}

{cuda}

## Misses

Each fault was planted into each policy that has the part. *Smallest* is the smallest difference
that was seen in 32 and 64 bit, in tolerances: 1 is the border. In 16 bit the tolerance is wide.

| fault | missed, 32 and 64 bit | missed, 16 bit | where, 32 and 64 bit | smallest |
|---|---|---|---|---|
{misses}

What was changed: one of two heads for the other; a slope, an epsilon, a deviation or an activation
by a small step; means by 10%; a buffer to what it is when it is made; all weights rounded; one
weight by a tenth of its matrix's deviation; memory to none at each step. A fault is missed where
the given observations hardly show it, and *lost memory* always in one step: a policy with a memory
wants several. Parameters that no operation of the probe touches can never be noticed; `codevault
show` and `codevault verify` list them. One that is touched may still hardly matter for the
observations that were given: give some that are like those of the task.
"""


def short(measured: Mapping[str, Any]) -> dict[str, Any]:
    """The results with the single replays counted."""
    cases = {row["case"]: None for row in measured["planted"]}
    dtypes = {row["dtype"]: None for row in measured["planted"]}
    alarms = {name: _counted(rows) for name, rows in measured["alarms"].items()}
    faults = {row["fault"]: None for row in measured["planted"]}
    misses = {
        fault: _missed([row for row in measured["planted"] if row["fault"] == fault])
        for fault in faults
    }
    facts = {key: measured[key] for key in measured if key not in ("alarms", "planted")}
    return {**facts, "cases": [*cases], "dtypes": [*dtypes], "alarms": alarms, "misses": misses}


def _counted(rows: list[dict[str, Any]]) -> dict[str, Any]:
    bad = [row for row in rows if not row["ok"]]
    exact = [row["ratio"] for row in rows if row["dtype"] == "float32"]
    other = [row["ratio"] for row in rows if row["dtype"] != "float32"]
    places = {f"{row['case']}, {row['dtype']}, batch {row['batch']}": None for row in bad}
    return {
        "replays": len(rows),
        "alarms": len(bad),
        "closest": [round(max(ratios, default=0.0), 5) for ratios in (exact, other)],
        "where": [*places],
        "faults": [fault for row in bad for fault in row["faults"]][:5],
    }


def _missed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "wide": _of([row for row in rows if row["dtype"] in WIDE]),
        "narrow": _of([row for row in rows if row["dtype"] not in WIDE]),
    }


def _of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    places: dict[str, int] = {}
    for row in rows:
        if row["ok"]:
            places[row["case"]] = places.get(row["case"], 0) + 1
    finite = [row["ratio"] for row in rows if math.isfinite(row["ratio"])]
    return {
        "planted": len(rows),
        "missed": sum(places.values()),
        "where": [f"{case} ({count})" for case, count in places.items()],
        "smallest": round(min(finite, default=0.0), 4),
    }


def page(results: Mapping[str, Any]) -> str:
    """The page's text."""
    from codevault.comparison import TOLERANCES

    spoken = [f"{relative:g} ({n})" for n, (_, relative) in TOLERANCES.items() if n in _SPOKEN]
    alarms = _table(
        (name, row["replays"], row["alarms"], *(f"{ratio:.2g}" for ratio in row["closest"]))
        for name, row in results["alarms"].items()
    )
    misses = _table(
        (
            fault,
            *(f"{row[width]['missed']} of {row[width]['planted']}" for width in ("wide", "narrow")),
            ", ".join(row["wide"]["where"]),
            f"{row['wide']['smallest']:.2g}",
        )
        for fault, row in results["misses"].items()
    )
    cuda = results["cuda"]
    return _TEXT.format(
        tolerances=", ".join(spoken),
        probes=results["probes"],
        count=len(results["cases"]),
        policies="\n".join(f"- {case}" for case in results["cases"]),
        dtypes=", ".join(results["dtypes"]),
        torch=results["torch"],
        threads=results["threads"],
        cpu=results["cpu"],
        alarms=alarms,
        cuda=f"CUDA: {cuda}."
        if cuda
        else "No CUDA device was at hand: there is no figure for one.",
        misses=misses,
    )


def _table(rows: Iterable[Iterable[object]]) -> str:
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)
