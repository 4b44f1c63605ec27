from __future__ import annotations

from typing import Any

import torch

from benchmarks import compiling


def test_the_limit_is_met_where_versions_share_their_code() -> None:
    torch._dynamo.reset()
    found = compiling.child("shared", "", [str(number) for number in range(10)])
    torch._dynamo.reset()
    assert (found["graphs"], found["wrong"]) == (8, 0)  # torch's default


def test_a_version_that_ran_uncompiled_misses() -> None:
    row: dict[str, Any] = {"versions": 10, "arm": "codevault", "graphs": 10, "wrong": 0}
    assert not compiling.missed(row)
    assert compiling.missed({**row, "graphs": 8})
    assert compiling.missed({**row, "wrong": 1})
    assert not compiling.missed({**row, "arm": "shared", "graphs": 8})
