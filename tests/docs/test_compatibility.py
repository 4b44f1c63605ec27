"""docs/compatibility.md is what its script makes, of what it found for the cases as they are."""

from __future__ import annotations

from tests.road.compat.case import CASES
from tests.road.compat.page import PAGE, page, read


def test_the_page_is_made_of_the_results() -> None:
    assert PAGE.read_text() == page(read())


def test_every_case_ran_in_its_present_form() -> None:
    found = {name: finding.digest for name, finding in read().items()}
    stale = [case.name for case in CASES if found.pop(case.name, None) != case.digest]
    assert not stale, f"python -m tests.road.compat {' '.join(stale)}"
    assert not found


def test_the_counts_agree() -> None:
    suites = {case.name for case in CASES if case.suite is not None}
    for name, finding in read().items():
        assert finding.values >= 4
        assert finding.modules > 0
        assert (finding.plain.get("passed", 0) > 0) == (name in suites)
        count = {arm: getattr(finding, arm).get("passed", 0) for arm in ("plain", "isolated")}
        ends = [pair[:2] for pair in finding.differ.values()]
        gained = [other for _, other in ends].count("passed")
        lost = [one for one, _ in ends].count("passed")
        assert count["plain"] - count["isolated"] == lost - gained, name
