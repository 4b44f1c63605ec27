"""Checks one package: its exercise and its own tests, isolated against a plain import."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.road.compat import sources
from tests.road.compat.process import run_child
from tests.road.releases import git

if TYPE_CHECKING:
    from pathlib import Path

    from tests.road.compat.case import Case, Suite

_OPTIONS = (
    "-q",
    "--tb=short",
    "--no-header",
    "--continue-on-collection-errors",
    "-pno:cacheprovider",
)
_FEW = 4


@dataclass(frozen=True, slots=True)
class Result:
    """What was found out about one package.

    Attributes:
        values: Number of values that the exercise gave, in the newer version.
        modules: Number of own modules that it had loaded.
        plain: Outcomes of its own tests by a plain import: outcome to number.
        isolated: The same in the splint.
        differ: Tests that end otherwise: the outcome plainly, isolated (empty where a run has no
            such test), and the reason that the case names.
        problems: What went wrong; empty if isolated equals plain.
    """

    values: int = 0
    modules: int = 0
    plain: dict[str, int] = field(default_factory=dict)
    isolated: dict[str, int] = field(default_factory=dict)
    differ: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def check(case: Case, scratch: Path) -> Result:
    """Runs everything about one package below `scratch`.

    Raises:
        NotReachableError: The package index did not give what is needed.
    """
    newer = case.versions[1]
    trees = {v: sources.tree(case, v, scratch / "alone" / v) for v in case.versions}
    repo = scratch / "repo"
    git(scratch, "init", "--quiet", "--initial-branch=main", str(repo))
    commits = {v: sources.commit(repo, tree, f"release {v}") for v, tree in trees.items()}
    own = sorted(set().union(*map(sources.top_names, trees.values())))
    problems: list[str] = []
    alone = _alone(case, scratch, trees, own, problems)
    if alone:
        _beside(case, scratch, commits, own, alone, problems)
    there = alone.get(newer, {"values": [], "functions": {}})
    found = Result(len(there["values"]), len(there["functions"]), problems=tuple(problems))
    if case.suite is None:
        return found
    return _own_tests(found, case, case.suite, scratch, trees[newer], commits, own)


def _alone(
    case: Case, scratch: Path, trees: dict[str, Path], own: list[str], problems: list[str]
) -> dict[str, dict[str, Any]]:
    """What the exercise gives by a plain import, each version in a process of its own."""
    base = sources.third_party(case.needs, case.alone)
    alone = {}
    for version, tree in trees.items():
        found = run_child(
            "child.py", {"own": own}, scratch, base, [tree / "lib", tree / "exercise"]
        )
        if isinstance(found, str):
            problems.append(f"{version} alone: {found}")
            return {}
        alone[version] = found
        if len(found["values"]) < _FEW or not any(found["functions"].values()):
            problems.append(f"{version}: the exercise gives hardly anything")
    return alone


def _beside(
    case: Case,
    scratch: Path,
    commits: dict[str, str],
    own: list[str],
    alone: dict[str, dict[str, Any]],
    problems: list[str],
) -> None:
    """Compares what mounted versions give with what they give alone."""
    arms = [(False, {v: commit}) for v, commit in commits.items()]
    for twin, mounted in arms if case.apart else [(False, commits), (True, commits)]:
        plan = {
            "repo": str(scratch / "repo"),
            "commits": mounted,
            "own": own,
            "module": case.exercise.stem,
            "twin": twin and ("import" if case.other_twin else "exercise"),
            "exercise": str(case.exercise),
            "host_changes": list(case.host_changes or ()),
        }
        here = "beside a twin" if twin else "without a twin"
        base = sources.third_party(case.needs, case.alone)
        if twin:
            base = sources.with_twin(case, base, scratch / "with-twin")
        found = run_child("child.py", plan, scratch, base, [])
        if isinstance(found, str):
            problems.append(f"{here}: {found}")
            continue
        pairs = [(v, found[v]["values"], alone[v]["values"]) for v in mounted]
        if "twin" in found:
            pairs.append(("the twin", found["twin"], alone[case.versions[1]]["values"]))
        for what, values, expected in pairs:
            problems += [f"{here}, {what}: {d}" for d in _differ(values, expected)]
        for version in mounted:
            one, other = found[version]["functions"], alone[version]["functions"]
            strange = [n for n in one.keys() | other.keys() if one.get(n) != other.get(n)]
            if strange:
                problems.append(f"{here}, {version}: not the same modules: {sorted(strange)}")
        problems += [f"{here}: {p}" for p in (*found["problems"], *found["foreign"])]


def _differ(found: list[str], expected: list[str]) -> list[str]:
    if len(found) != len(expected):
        return [f"{len(found)} values, not {len(expected)}"]
    pairs = zip(found, expected, strict=True)
    return [f"{a[:300]} is not {b[:300]}" for a, b in pairs if a != b]


def _own_tests(
    found: Result,
    case: Case,
    suite: Suite,
    scratch: Path,
    tree: Path,
    commits: dict[str, str],
    own: list[str],
) -> Result:
    """`found`, and how the newer version's own tests end, plainly and isolated."""
    *others, commit = commits.values()
    base = sources.third_party((*case.needs, *suite.needs), case.alone)
    config = scratch / "pytest.ini"
    config.write_text("[pytest]\n")
    plan = {
        "roots": ["lib", *suite.roots, "."],
        "own": own,
        "plugins": suite.plugins,
        "arguments": [
            *_OPTIONS,
            "-c",
            str(config),
            f"--basetemp={scratch / 'tmp'}",
            *suite.options,
            *(f"--deselect={node}" for node in suite.leave_out or ()),
            *suite.paths,
        ],
    }
    where = {
        "repo": str(scratch / "repo"),
        "commit": commit,
        "others": [] if case.apart else others,
    }
    variables = suite.variables
    plain = run_child("suite.py", {**plan, "tree": str(tree)}, scratch, base, [], variables)
    isolated = run_child("suite.py", plan | where, scratch, base, [], variables)
    problems = [
        f"own tests, {arm}: {ended}"
        for arm, ended in (("plain", plain), ("isolated", isolated))
        if isinstance(ended, str)
    ]
    if isinstance(plain, str) or isinstance(isolated, str):
        return Result(found.values, found.modules, problems=(*found.problems, *problems))
    differ = {}
    for node in sorted(plain["outcomes"].keys() | isolated["outcomes"].keys()):
        one, other = plain["outcomes"].get(node, ""), isolated["outcomes"].get(node, "")
        if one == other:
            continue
        reasons = (suite.differ or {}).items()
        why = next((reason for reason, nodes in reasons if node.startswith(nodes)), None)
        if why is None:
            said = isolated["said"].get(node, "").strip()[-400:]
            problems.append(f"own tests: {node} {one} plain, {other} isolated: {said}")
        else:
            differ[node] = (one, other, why)
    # What was written outside the tree is the host's, and imports the host's.
    if (appeared := isolated["appeared"]) and "written" not in (suite.differ or {}):
        problems.append(f"own tests: appeared under their own names: {appeared}")
    counts = _count(plain["outcomes"]), _count(isolated["outcomes"])
    if not counts[0].get("passed"):
        problems.append(f"own tests, plain: nothing passed: {counts[0]}")
    return Result(found.values, found.modules, *counts, differ, (*found.problems, *problems))


def _count(outcomes: dict[str, str]) -> dict[str, int]:
    values = list(outcomes.values())
    return {outcome: values.count(outcome) for outcome in sorted(set(values))}
