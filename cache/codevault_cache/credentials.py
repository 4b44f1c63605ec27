"""Credentials for http servers that the user has stored: in ~/.netrc, or with git."""

from __future__ import annotations

import contextlib
import netrc
import os
import shutil
import subprocess
from urllib.parse import urlsplit


def credentials(url: str, challenge: str | None, attempt: int) -> dict[str, str] | None:
    """Answer a server that asks who is there.

    Args:
        url: What was requested.
        challenge: The server's WWW-Authenticate header.
        attempt: How often it has asked.

    Returns:
        User name and password, or None when nothing more is known.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if attempt <= 1:
        return _netrc(parts.hostname or "") or _git(parts.scheme, host)
    return _git(parts.scheme, host) if attempt == 2 else None


def _netrc(host: str) -> dict[str, str] | None:
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        found = netrc.netrc().authenticators(host)
        if found is not None and found[2]:
            return {"username": found[0], "password": found[2]}
    return None


def _git(scheme: str, host: str) -> dict[str, str] | None:
    if shutil.which("git") is None:
        return None
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "SSH_ASKPASS": "true"}
    try:
        done = subprocess.run(
            ["git", "credential", "fill"],
            input=f"protocol={scheme}\nhost={host}\n\n",
            text=True,
            capture_output=True,
            timeout=20,
            env=quiet,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if not found.get("password"):
        return None
    return {"username": found.get("username", ""), "password": found["password"]}
