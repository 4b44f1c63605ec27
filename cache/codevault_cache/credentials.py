"""Credentials for http servers that the user has stored: in the environment, ~/.netrc, or git."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from codevault_cache.address import Address

_TOKEN_USER = "x-access-token"  # noqa: S105  (the name that goes with any token)


def credentials_for(address: Address) -> Iterator[tuple[str, str]]:
    """User names and passwords for a server that asks who is there, the likeliest first.

    Args:
        address: Where the repository is.

    Yields:
        Each pair once; nothing is sent to a host that it was not stored for.
    """
    seen: set[tuple[str, str]] = set()
    for find in (_stated, _token, _netrc, _git):
        found = find(address)
        if found is not None and found not in seen:
            seen.add(found)
            yield found


def _stated(address: Address) -> tuple[str, str] | None:
    """What the address itself says; a lone user name may be a token."""
    if address.user is None:
        return None
    return address.user, address.password or ""


def token_variable(host: str) -> str | None:
    """The variable that may hold a token for a host: `.` becomes `_`, and `-` becomes `__`.

    Returns:
        Its name, which no other host has; None for a host that could share one.
    """
    label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    if not re.fullmatch(rf"{label}(?:\.{label})*", host):
        return None
    return "CODEVAULT_TOKEN_" + host.upper().replace("-", "__").replace(".", "_")


def _token(address: Address) -> tuple[str, str] | None:
    # A token goes in the clear to nobody but this machine.
    if not address.base.startswith("https://") and address.host not in ("127.0.0.1", "localhost"):
        return None
    names = [token_variable(address.host)]
    if address.host == "github.com":
        names += ["GH_TOKEN", "GITHUB_TOKEN"]
    for name in names:
        if name is not None and os.environ.get(name):
            return address.user or _TOKEN_USER, os.environ[name]
    return None


def _netrc(address: Address) -> tuple[str, str] | None:
    import netrc

    with contextlib.suppress(OSError, netrc.NetrcParseError):
        # Not `authenticators`: its default entry would go to whoever asks.
        found = netrc.netrc().hosts.get(address.host)
        if found is not None and found[2]:
            return found[0], found[2]
    return None


def _git(address: Address) -> tuple[str, str] | None:
    import shutil

    if shutil.which("git") is None:
        return None
    parts = urlsplit(address.public)
    asked = f"protocol={parts.scheme}\nhost={parts.netloc}\npath={parts.path.lstrip('/')}\n"
    if address.user is not None:
        asked += f"username={address.user}\n"
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "SSH_ASKPASS": "true"}
    try:
        done = subprocess.run(
            ["git", "credential", "fill"],
            input=asked + "\n",
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
    return found.get("username", ""), found["password"]
