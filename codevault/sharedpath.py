"""The setting by which this Python finds a shared module that it lacks."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def path_line(top: str, place: str | None, roots: Iterable[str]) -> str:
    """The setting by which this Python finds a top-level module that lies in a folder's roots.

    A shared module is the application's own: no package of that name is what is meant.
    """
    folders = [os.path.normpath(os.path.join(place, root)) for root in roots] if place else []
    for folder in folders:
        if os.path.isdir(os.path.join(folder, top)) or os.path.isfile(f"{folder}/{top}.py"):
            return f"PYTHONPATH={shlex.quote(folder)}"
    return f"PYTHONPATH=FOLDER_WITH_{top}"
