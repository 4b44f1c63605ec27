"""Builds the policy of some commits, each in a process of its own, to compare keys and shapes.

This runs the repository's code: only for those who asked for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from codevault.errors import CodevaultError
from codevault.manifest import escaped
from codevault.rehearsal import our_folders

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHILD: Final = """\
import sys
sys.path[:0] = sys.argv[2:]
from codevault.identify.building import main
main(sys.argv[1])
"""
_SECONDS: Final = 300
_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """How a policy is built.

    Attributes:
        repo: Where its code is.
        roots: Folders of the import path; empty takes what the repository states.
        class_path: Its class, or a function that gives it.
        arguments: Keyword arguments, as `codevault convert` takes them.
        env: The environment description, as JSON has it; or None.
    """

    repo: str
    roots: tuple[str, ...]
    class_path: str
    arguments: Mapping[str, Any]
    env: Any = None


def verdict(plan: Plan, commit: str, keys: Mapping[str, tuple[int, ...]]) -> str:
    """What a commit's policy says to some weights: "" if they fit, else why not."""
    with tempfile.TemporaryDirectory(prefix="codevault-identify-") as folder:
        task = {
            "repo": plan.repo,
            "commit": commit,
            "roots": plan.roots,
            "class_path": plan.class_path,
            "arguments": plan.arguments,
            "env": plan.env,
        }
        with open(os.path.join(folder, "task.json"), "w", encoding="utf-8") as file:
            json.dump(task, file)
        command = [sys.executable, "-P", "-c", _CHILD, folder, *our_folders()]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"building it did not end within {_SECONDS} s"
        try:
            with open(os.path.join(folder, "built.json"), encoding="utf-8") as file:
                said = json.load(file)
            if "error" in said:
                return f"it cannot be built: {escaped(str(said['error']))[:300]}"
            built = {key: tuple(shape) for key, shape in said["shapes"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            lines = done.stderr.strip().splitlines() or ["it left nothing"]
            return f"it cannot be built: {escaped(lines[-1])[:300]}"
    return _unlike(built, keys)


def _unlike(built: Mapping[str, tuple[int, ...]], keys: Mapping[str, tuple[int, ...]]) -> str:
    named = {
        "lacks": sorted(keys.keys() - built.keys()),
        "has besides": sorted(built.keys() - keys.keys()),
        "has other shapes of": sorted(k for k in keys.keys() & built if keys[k] != built[k]),
    }
    parts = [
        f"{what} {', '.join(found[:_NAMED])}" + (", ..." if len(found) > _NAMED else "")
        for what, found in named.items()
        if found
    ]
    return "; ".join(parts)


def main(folder: str) -> None:
    """The child process: builds what `task.json` says, and writes its keys and shapes."""
    with open(os.path.join(folder, "task.json"), encoding="utf-8") as file:
        task = json.load(file)
    try:
        said: dict[str, Any] = {"shapes": _shapes(task)}
    except CodevaultError as error:
        said = {"error": f"{error.what}: {error.why}"}
    except Exception as error:  # whatever the repository's code raises is its verdict
        said = {"error": f"{type(error).__name__}: {error}"}
    with open(os.path.join(folder, "built.json"), "w", encoding="utf-8") as file:
        json.dump(said, file)


def _shapes(task: Mapping[str, Any]) -> dict[str, list[int]]:
    from codevault import architecture, oldforms
    from codevault.build import environment, own
    from codevault.load import load_code

    splint = load_code(task["repo"], task["commit"], roots=task["roots"] or None)
    given = {
        name: architecture.decode(data, lambda path: own(splint, path), f"--arg {name}")
        for name, data in task["arguments"].items()
    }
    env = None if task["env"] is None else environment(task["env"], splint)
    recipe = oldforms.Recipe(task["class_path"], given)
    policy = oldforms.build(oldforms.architecture(recipe, splint, env), splint, env)
    return {key: list(value.shape) for key, value in policy.state_dict().items()}
