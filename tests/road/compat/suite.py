"""Runs a package's own tests in a process of its own: `suite.py PLAN RESULT`, both JSON files.

A plan with a repository mounts the commit, and its tests are own code too: whatever pytest imports
from the laid-out tree, test modules and `conftest.py`, is imported as modules of the splint. A plan
without one runs the same tests against the tree on `sys.path`.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _pytest.config
import _pytest.doctest
import _pytest.monkeypatch
import _pytest.outcomes
import _pytest.pathlib
import _pytest.python
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

_PREFIX = re.compile(r"_splint_[0-9a-f]{12}_[0-9a-f]{12}\.")
_RANK = ("passed", "xpassed", "xfailed", "skipped", "failed", "error")


class Outcomes:
    """A plugin that keeps the outcome of each test, and the last lines of those that fail."""

    def __init__(self) -> None:
        self.all: dict[str, str] = {}
        self.said: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            outcome: str = report.outcome
            if hasattr(report, "wasxfail"):
                outcome = "xfailed" if report.skipped else "xpassed"
        elif report.failed:
            outcome = "error"
        elif report.skipped:
            outcome = "xfailed" if hasattr(report, "wasxfail") else "skipped"
        else:
            return
        node = _PREFIX.sub("", report.nodeid).replace(os.getcwd(), "")
        self.all[node] = max(self.all.get(node, "passed"), outcome, key=_RANK.index)
        if report.failed:
            self.said[node] = report.longreprtext[-1500:]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.all[report.nodeid] = "error"
            self.said[report.nodeid] = report.longreprtext[-1500:]
        elif report.skipped:
            self.all[report.nodeid] = "skipped"


def import_inside(splint: Any, roots: list[str]) -> None:
    """Lets pytest import the files of the splint's tree as modules of the splint."""
    from codevault_importhook import stringimports

    top = Path(splint.tree.location(""))
    real = _pytest.pathlib.import_path
    innermost = sorted((r for r in roots if r != "."), key=len, reverse=True)

    def import_path(path: Any, **options: Any) -> Any:
        if not Path(path).is_relative_to(top):
            return real(path, **options)
        inner = Path(path).relative_to(top).with_suffix("").as_posix()
        start = next((f"{r}/" for r in innermost if inner.startswith(f"{r}/")), "")
        return splint.import_module(
            inner.removeprefix(start).removesuffix("/__init__").replace("/", ".")
        )

    for module in (_pytest.config, _pytest.doctest, _pytest.pathlib, _pytest.python):
        module.import_path = import_path  # type: ignore[attr-defined]
    # Names given as strings: to `monkeypatch.setattr`, `importorskip`, `pytest_plugins`.
    for module in (_pytest.config, _pytest.monkeypatch, _pytest.outcomes):
        module.__import__ = stringimports._import  # type: ignore[attr-defined]


def main(plan_file: str, result_file: str) -> None:
    """Does what a plan says."""
    with open(plan_file) as file:
        plan = json.load(file)
    roots = plan["roots"]
    own = set(plan["own"])
    load: Callable[[str], Any]
    before = {name for name in sys.modules if name.partition(".")[0] in own}
    if "repo" in plan:
        import codevault

        for commit in plan["others"]:
            other = codevault.load_code(plan["repo"], commit, roots=["lib", "exercise"])
            other.import_module("compat_exercise")
        before |= {name for name in sys.modules if name.partition(".")[0] in own}
        splint = codevault.load_code(plan["repo"], plan["commit"], roots=roots)
        import_inside(splint, roots)
        top, load = splint.tree.location(""), splint.import_module
    else:
        top, load = plan["tree"], importlib.import_module
        folders = [os.path.normpath(os.path.join(top, root)) for root in roots]
        sys.path[:0] = folders
        os.environ["PYTHONPATH"] = os.pathsep.join([*folders, os.environ["PYTHONPATH"]])
    os.chdir(top)
    outcomes = Outcomes()
    code = pytest.main(
        [f"--rootdir={top}", f"--confcutdir={top}", *plan["arguments"]],
        plugins=[outcomes, *map(load, plan["plugins"])],
    )
    after = {name for name in sys.modules if name.partition(".")[0] in own}
    result = {"outcomes": outcomes.all, "said": outcomes.said, "exit": int(code)}
    if "repo" in plan:
        result["appeared"] = sorted(after - before)
    with open(result_file, "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
