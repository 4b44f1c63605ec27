from __future__ import annotations

from typing import Any

import pytest

from benchmarks import counts

ROW: dict[str, Any] = {"versions": 9, "arm": "codevault", "graphs": 9, "wrong": 0}
WIRE = {"git": 100, "codevault, whole tree": 105, "codevault, src": 20}
CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("warm_load", {"rows": [{"modules": 9, "opens": 5, "calls": 80}]}, []),
    (
        "warm_load",
        {"rows": [{"modules": 60, "opens": 5, "calls": 81}]},
        ["60 modules: 5 opens, 81 calls"],
    ),
    ("gpu_forward", {"rows": [{"policy": "P", "differences": [], "verdict": "slower"}]}, []),
    ("gpu_forward", {"rows": [{"policy": "P", "differences": ["opcodes"]}]}, ["P: ['opcodes']"]),
    ("second_prefetch", {"requests": {"second": 0}, "ms_a_uri": {"prefetch": 9.0}}, []),
    ("second_prefetch", {"requests": {"second": 1}}, ["a second prefetch asked 1 times"]),
    ("league", {"memory": "flat"}, []),
    ("league", {"memory": "grows"}, ["memory of a league grows"]),
    ("compiling", {"rows": [ROW]}, []),
    ("compiling", {"rows": [{**ROW, "graphs": 8}]}, ["8 of 9 compiled, 0 outputs differ"]),
    ("weights", {"anonymous_share": 0.02, "ratio": 3.0}, []),
    (
        "weights",
        {"anonymous_share": 0.5},
        ["weights took 50.0% of their size in memory of their own"],
    ),
    ("cold_fetch", {"bytes": WIRE, "call_ratio": 9.0}, []),
    (
        "cold_fetch",
        {"bytes": {**WIRE, "codevault, src": 90}},
        ["codevault, src: 90 bytes on the wire, and git's 100"],
    ),
    ("startup", {}, []),
]


@pytest.mark.parametrize(("name", "figures", "said"), CASES)
def test_a_missed_count_fails_and_a_missed_time_does_not(
    name: str, figures: dict[str, Any], said: list[str]
) -> None:
    assert counts.missed(name, figures) == said
