"""Runs one arm of a check in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.road.compat import sources
from tests.road.releases import GIT_ENVIRONMENT

_HERE: Final = Path(__file__).parent
_LIMIT: Final = 600
"""Seconds that a child gets."""


def run_child(
    program: str,
    plan: dict[str, Any],
    scratch: Path,
    base: Path,
    path: list[Path],
    variables: dict[str, str] | None = None,
) -> dict[str, Any] | str:
    """What a process of its own found out, or why it failed.

    Args:
        program: The file in this folder that it runs.
        plan: What the program reads.
        scratch: A folder for its cache and state.
        base: The user base (see `site`) that holds its third-party packages.
        path: Folders that stand first on its `sys.path`.
        variables: Further environment variables.
    """
    plan_file, result_file = scratch / "plan.json", scratch / "result.json"
    plan_file.write_text(json.dumps(plan))
    result_file.unlink(missing_ok=True)
    packages = sources.site_packages(base)
    environment = {
        **os.environ,
        **GIT_ENVIRONMENT,
        "CODEVAULT_CACHE": str(scratch / "cache"),
        "XDG_STATE_HOME": str(scratch / "state"),
        "XDG_CONFIG_HOME": str(scratch / "config"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        # A user base is what the hook, too, takes for a place of third-party packages.
        "PYTHONUSERBASE": str(base),
        "PYTHONPATH": os.pathsep.join(map(str, [*path, packages])),
        **(variables or {}),
    }
    command = [sys.executable, "-P", str(_HERE / program), str(plan_file), str(result_file)]
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=scratch,
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not done in {_LIMIT} s"
    if done.returncode or not result_file.exists():
        return f"exit status {done.returncode}: {(done.stderr or done.stdout).strip()[-1500:]}"
    found: dict[str, Any] = json.loads(result_file.read_text())
    return found
