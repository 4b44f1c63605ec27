"""The page says what the published runs say, and nothing else."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import __main__ as command
from benchmarks import budgets, page, plots, result

if TYPE_CHECKING:
    from pathlib import Path

RUNS = result.read(command.RESULTS)


def test_the_page_is_what_the_runs_say() -> None:
    assert RUNS
    assert (command.DOCS / "benchmarks.md").read_text() == page.render(RUNS)


def test_every_plot_of_the_page_is_drawn_from_the_runs(tmp_path: Path) -> None:
    named = re.findall(r"\]\(benchmarks/(.+?)\)", page.render(RUNS))
    drawn = plots.draw(RUNS, tmp_path)
    assert sorted(named) == sorted(drawn) == sorted(p.name for p in tmp_path.iterdir())
    assert sorted(p.name for p in (command.DOCS / "benchmarks").iterdir()) == sorted(drawn)
    first = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    plots.draw(RUNS, tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == first


def of(benchmark: str) -> dict[str, Any]:
    return copy.deepcopy(next(run for run in RUNS if run["benchmark"] == benchmark))


def test_no_ratio_is_printed_where_a_run_claims_none() -> None:
    run = of("import_snapshot")
    for row in run["figures"]["rows"]:
        row["control_ratio"] = 1.2
        for key in ("ratio", "from_import_ratio", "host_import_ratio"):
            row.pop(key, None)
    text = page.render([run])
    assert text.count("not claimed") == 3 * len(run["figures"]["rows"])
    assert "| unresolved | no run claims a figure |" in text


def test_a_quick_run_is_not_published() -> None:
    with pytest.raises(ValueError, match="not a run to publish"):
        page.render([{**of("weights"), "quick": True}])


def test_a_run_on_the_cpu_says_nothing_of_a_gpu() -> None:
    run = of("gpu_forward")
    run["figures"]["device"] = {"kind": "cpu"}
    text = page.render([run])
    assert "No GPU was at hand" in text
    assert "| forward pass on a GPU | equal within 1% | unresolved | not measured yet |" in text


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([], "unresolved"),
        ([None], "unresolved"),
        ([0.9, 1.0], "met"),
        ([0.9, None], "unresolved"),
        ([0.9, 1.1], "missed"),
        ([None, 1.1], "missed"),
    ],
)
def test_a_budget_is_met_only_where_every_run_claims_it(
    values: list[float | None], verdict: str
) -> None:
    assert budgets.judge(values, 1.0)[0] == verdict


def test_a_forward_pass_that_differs_or_is_slower_misses() -> None:
    run = of("gpu_forward")
    rows = run["figures"]["rows"]
    for row in rows:
        row["verdict"] = "equal"
    assert budgets.forward([run], "cpu")[0] == "met"
    rows[0]["verdict"] = "unresolved"
    assert budgets.forward([run], "cpu")[0] == "unresolved"
    rows[0]["verdict"] = "slower by 2.0%"
    assert budgets.forward([run], "cpu")[0] == "missed"
    rows[0] |= {"verdict": "equal", "differences": ["opcodes"]}
    assert budgets.forward([run], "cpu")[0] == "missed"
