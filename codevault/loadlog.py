"""One line for each load of somebody's code: what ran, and why it was allowed.

JSON lines in this user's state folder, for people who ask later. The log is kept below two files of
a megabyte; a line that cannot be written stops no load.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from typing import TYPE_CHECKING, Any, Final, Protocol

from codevault import userdir

if TYPE_CHECKING:
    from codevault.splint import Splint

GIVEN: Final = "given by the caller"
"""Why code ran that the caller named."""
_NAME: Final = "loads.jsonl"
_LIMIT: Final = 1 << 20


class Code(Protocol):
    """What names code: a manifest, or a snapshot."""

    @property
    def repo(self) -> str | None:
        """Where it is, or None."""

    @property
    def commit(self) -> str | None:
        """Its full commit, or None."""

    @property
    def digest(self) -> str:
        """The digest of its files."""


def note(uri: str, code: Code, policy: str | None, splint: Splint | None, allowed: str) -> None:
    """Adds a line; called before any of the code runs, so that code that fails leaves one too.

    Args:
        uri: Where the checkpoint was read, without secrets.
        code: The code that will run.
        policy: The identity that the checkpoint states; None for an old file.
        splint: That code in this process; None for the application's own.
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
        "repo": code.repo,
        "commit": code.commit,
        "digest": code.digest,
        "policy": policy,
        "splint": None if splint is None else splint.name,
        "allowed": allowed,
    }
    path = os.path.join(folder, _NAME)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        fd = os.open(path, flags, 0o600)
        try:
            os.write(fd, (json.dumps(line) + "\n").encode())  # one write: lines never mix
            status = os.fstat(fd)
            # Another process may have set this file aside meanwhile: the newer one is not full.
            if status.st_size > _LIMIT and os.path.samestat(status, os.stat(path)):
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
