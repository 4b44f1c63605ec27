"""Runs exercises in a process of its own: `child.py PLAN RESULT`, both JSON files.

A plan with a repository mounts its commits beside each other (and beside the twin that the host has
installed, if any); one without runs the version that stands on `sys.path`, alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_PREFIX = re.compile(r"_splint_[0-9a-f]{12}_[0-9a-f]{12}\.")
_NOTHING = types.ModuleType("nothing")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def figures(exercise: Any) -> list[str]:
    """What an exercise gives, one line a value, with the names that the code itself knows."""
    lines = []
    for value in exercise.run():
        text = json.dumps(value, default=repr, sort_keys=True)
        lines.append(_ADDRESS.sub("", _PREFIX.sub("", text)))
    return lines


def functions(modules: Iterable[tuple[str, Any]], own: set[str]) -> dict[str, list[str]]:
    """Of which version the package's modules are: their functions, and the lines they stand on."""
    found = {}
    for name, module in modules:
        # Not by attribute: some modules import when they are asked for one.
        names = dict(getattr(module, "__dict__", {}))
        known = _PREFIX.sub("", names.get("__name__", ""))
        if name.partition(".")[0] not in own or known != name:
            continue
        things = list(names.values())
        things += [inner for t in things if isinstance(t, type) for inner in vars(t).values()]
        plain = [t.__func__ if isinstance(t, classmethod | staticmethod) else t for t in things]
        codes = {thing.__code__ for thing in plain if isinstance(thing, types.FunctionType)}
        found[name] = sorted(
            f"{code.co_qualname} {code.co_firstlineno}"
            for code in codes
            if code.co_filename == names.get("__file__")
        )
    return found


def host_modules(own: set[str]) -> dict[str, Any]:
    """The modules of the host that have the package's names."""
    return {n: sys.modules[n] for n in list(sys.modules) if n.partition(".")[0] in own}


def beside(plan: dict[str, Any]) -> dict[str, Any]:
    """Mounts all commits in this process and runs each version's exercise, twice."""
    import codevault

    found: dict[str, Any] = {"problems": []}
    own = set(plan["own"])
    # Mounted first, since codevault itself imports third-party packages for it.
    splints = {
        version: codevault.load_code(plan["repo"], commit, roots=["lib", "exercise"])
        for version, commit in plan["commits"].items()
    }
    twin = None
    if plan["twin"] == "import":
        importlib.import_module(plan["module"])
    elif plan["twin"]:
        spec: Any = importlib.util.spec_from_file_location("compat_exercise", plan["exercise"])
        twin = sys.modules["compat_exercise"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(twin)
        found["twin"] = figures(twin)
    before = host_modules(own)
    contents = {name: dict(vars(module)) for name, module in before.items()}
    versions = {}
    for version, splint in splints.items():
        exercise = splint.import_module("compat_exercise")
        found[version] = {
            "values": figures(exercise),
            "functions": functions(list(splint.modules.items()), own),
        }
        versions[version] = (splint, exercise)
    for version, (splint, exercise) in versions.items():
        with splint.resolving():
            again = figures(exercise)
        if again != found[version]["values"]:
            found["problems"].append(f"{version} inside resolving() differs: {again}")
    after = host_modules(own)
    if new := sorted(after.keys() - before.keys()):
        found["problems"].append(f"appeared under their own names: {new}")
    if changed := sorted(n for n in before if after.get(n) is not before[n]):
        found["problems"].append(f"replaced in the host: {changed}")
    for name, names in contents.items():
        now = vars(before[name])
        differ = {
            f"{name}.{k}" for k in names.keys() | now.keys() if names.get(k) is not now.get(k)
        }
        if unexpected := sorted(differ - set(plan["host_changes"])):
            found["problems"].append(f"changed in the host: {unexpected}")
    if twin is not None and (again := figures(twin)) != found["twin"]:
        found["problems"].append(f"the host's twin differs afterwards: {again}")
    found["foreign"] = sorted({line for s, _ in versions.values() for line in _foreign(s, own)})
    return found


def _foreign(splint: Any, own: set[str]) -> list[str]:
    """Classes and functions in own modules that were made by the host's twin."""
    lines = []
    for name, module in splint.modules.items():
        for attribute, thing in list(vars(module).items()):
            # Nothing else is asked: a lazy module would import at the question.
            made_in = thing.__module__ if isinstance(thing, type | types.FunctionType) else None
            if (
                isinstance(made_in, str)
                and made_in.partition(".")[0] in own
                and vars(sys.modules.get(made_in, _NOTHING)).get(attribute) is thing
            ):
                lines.append(f"{name}.{attribute} is the host's")
    return lines


def main(plan_file: str, result_file: str) -> None:
    """Does what a plan says."""
    with open(plan_file) as file:
        plan = json.load(file)
    if "repo" in plan:
        result = beside(plan)
    else:
        values = figures(importlib.import_module("compat_exercise"))
        loaded = functions(list(sys.modules.items()), set(plan["own"]))
        result = {"values": values, "functions": loaded}
    with open(result_file, "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
