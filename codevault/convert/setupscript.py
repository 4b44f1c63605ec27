"""The script that a bundle wants to run before it is loaded; only where the user allowed it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from typing import TYPE_CHECKING, Final

from codevault.errors import ConvertError

if TYPE_CHECKING:
    from codevault.oldforms import OldFile

_SECONDS: Final = 600


def run(old: OldFile) -> None:
    """Runs the script of a bundle in a copy of its files, as the bundle's own loader did.

    It runs with the user's rights and network: it is there to install things.

    Raises:
        ConvertError: It is no script of the bundle, or it failed.
    """
    with tempfile.TemporaryDirectory(prefix="codevault-bundle-") as folder:
        if os.path.isdir(old.path):
            shutil.copytree(old.path, folder, dirs_exist_ok=True)
        else:
            with zipfile.ZipFile(old.path) as archive:
                archive.extractall(folder)  # which drops absolute names and ".."
        script = os.path.realpath(os.path.join(folder, old.setup or ""))
        inside = script.startswith(os.path.realpath(folder) + os.sep)
        if not inside or not script.endswith(".py") or not os.path.isfile(script):
            raise ConvertError(
                f"{old.path} has no script {old.setup!r}", "it is no .py file of its"
            )
        done = subprocess.run(
            [sys.executable, script],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    if done.returncode:
        last = "; ".join(done.stderr.strip().splitlines()[-5:])
        raise ConvertError(f"{old.setup} of {old.path} failed", last)
