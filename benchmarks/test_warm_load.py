from __future__ import annotations

import pytest

from benchmarks.warm_load import CALLS, OPENS, count, missing


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_warm_load_costs_the_same_few_calls_whatever_the_number_of_modules() -> None:
    few, many = count(10), count(60)
    assert many["modules"] > few["modules"] + 40
    assert 0 < few["opens"] == many["opens"] <= OPENS
    assert 10 < few["calls"] == many["calls"] <= CALLS
