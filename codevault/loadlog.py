"""One line for each load of somebody's code: what ran, and why it was allowed.

JSON lines in this user's state folder, for people who ask later. The log is kept below two files of
a megabyte; a line that cannot be written stops no load.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from typing import TYPE_CHECKING, Any, Final

from codevault import userdir

if TYPE_CHECKING:
    from codevault.manifest import Manifest

_NAME: Final = "loads.jsonl"
_LIMIT: Final = 1 << 20


def note(uri: str, manifest: Manifest, splint: str | None, allowed: str) -> None:
    """Adds a line.

    Args:
        uri: Where the checkpoint was read, without secrets.
        manifest: The checkpoint's.
        splint: The name of its code in this process; None for the application's own.
        allowed: Why it was allowed.
    """
    folder = userdir.state_folder("loads")
    if folder is None:
        return
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    line: dict[str, Any] = {
        "time": now.replace("+00:00", "Z"),
        "pid": os.getpid(),
        "uri": uri,
        "repo": manifest.repo,
        "commit": manifest.commit,
        "digest": manifest.digest,
        "policy": manifest.policy_digest,
        "splint": splint,
        "allowed": allowed,
    }
    path = os.path.join(folder, _NAME)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        fd = os.open(path, flags, 0o600)
        try:
            os.write(fd, (json.dumps(line) + "\n").encode())  # one write: lines never mix
            if os.fstat(fd).st_size > _LIMIT:
                os.replace(path, f"{path}.1")
        finally:
            os.close(fd)


def lines() -> list[dict[str, Any]]:
    """The lines that are kept, oldest first; those that cannot be read are left out."""
    found = []
    for name in (f"{_NAME}.1", _NAME):
        for text in (userdir.read("loads", name) or b"").splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(text))
    return found
