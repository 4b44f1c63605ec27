"""Published packages as old code give what a plain import gives: see docs/compatibility.md.

A few run whole; of the others the exercises run where slow tests do. `python -m tests.road.compat`
runs everything.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.road.compat.case import CASES, Case
from tests.road.compat.check import check
from tests.road.compat.page import REASONS
from tests.road.compat.sources import NotReachableError

if TYPE_CHECKING:
    from pathlib import Path

QUICK = [case for case in CASES if case.quick]
REST = [replace(case, suite=None) for case in CASES if not case.quick]


def run(case: Case, scratch: Path) -> None:
    if missing := [m for m in case.host if importlib.util.find_spec(m) is None]:
        pytest.skip(f"{case.name} needs {', '.join(missing)}")
    try:
        result = check(case, scratch)
    except NotReachableError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    assert not result.problems, "\n".join(result.problems)


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
def test_versions_and_own_tests_give_what_they_give_alone(case: Case, tmp_path: Path) -> None:
    run(case, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", REST, ids=lambda case: case.name)
def test_versions_give_what_each_gives_alone(case: Case, tmp_path: Path) -> None:
    run(case, tmp_path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_differs_has_a_reason(case: Case) -> None:
    assert (case.suite is None) == bool(case.no_suite)
    if case.suite is not None:
        assert set(case.suite.differ or {}) <= REASONS.keys()
