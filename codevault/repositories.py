"""Addresses of repositories, as grants and manifests have them: one spelling for one place."""

from __future__ import annotations

import os
import re
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from codevault.errors import UsageError

_SCP: Final = re.compile(
    r"(?:(?P<user>[^@/:]+)@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?!/)(?P<path>[^:]+)"
)
_PORTS: Final = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
_BARE: Final = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?:/[A-Za-z0-9._-]+)+")
_FORMS: Final = "codevault trust add https://host/owner/repo  # or …@COMMIT, or sha256:CHECKPOINT"


def canonical(repo: str) -> str:
    """One spelling of a repository's address, so that equal places compare equal.

    ssh and https to one host and path are the same repository; user info, default ports, a final
    `.git` and slashes do not count; the host's case does not, the path's does. Local paths and
    `file://` become `file://` with the real path.

    Raises:
        UsageError: The address cannot be read, climbs with `..`, or is a pattern.
    """
    if not repo.isprintable():
        raise unreadable(ascii(repo), "it has unprintable characters")
    if repo.startswith(("/", "~", "./", "../", "file://")):
        path = unquote(urlsplit(repo).path) if repo.startswith("file://") else repo
        real = os.path.realpath(os.path.expanduser(path))
        return "file://" + quote(real.removesuffix("/.git"))
    scp = _SCP.fullmatch(repo)
    if scp and "://" not in repo:
        return _canonical("https", scp["host"], None, "/" + scp["path"])
    try:
        parts = urlsplit(repo)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise unreadable(repo, "it is no URL") from None
    if parts.scheme not in _PORTS or not host or parts.query or parts.fragment:
        raise unreadable(repo, "known are https, ssh, git, http, user@host:path, and local paths")
    if port == _PORTS[parts.scheme]:
        port = None
    scheme = "https" if parts.scheme == "ssh" and port is None else parts.scheme
    return _canonical(scheme, host, port, parts.path)


def explicit(repo: str) -> str:
    """The address with its scheme: what is fetched must not be a folder that is called so."""
    scp = None if "://" in repo or os.path.isabs(repo) else _SCP.fullmatch(repo)
    if scp is None:
        return repo
    return f"ssh://{scp['user'] + '@' if scp['user'] else ''}{scp['host']}/{scp['path']}"


def _canonical(scheme: str, host: str, port: int | None, path: str) -> str:
    segments = [s for s in path.removesuffix("/").removesuffix(".git").split("/") if s]
    if any(unquote(s) in (".", "..") for s in segments) or not segments:
        raise unreadable(f"{scheme}://{host}{path}", "its path climbs or is empty")
    if any(set(unquote(s)) & set("*?[") for s in segments):
        raise unreadable(f"{scheme}://{host}{path}", "a grant names one repository, not a pattern")
    try:
        ascii_host = host.lower().encode("idna").decode()
    except UnicodeError:
        ascii_host = host.lower()
    if ":" in ascii_host:  # IPv6, whose last group must not read as a port
        ascii_host = f"[{ascii_host}]"
    return f"{scheme}://{ascii_host}{f':{port}' if port else ''}/{'/'.join(segments)}"


def unreadable(text: str, why: str) -> UsageError:
    """The error for a text that is no grant."""
    shown = re.sub(r"//[^/@]*@", "//", text)[:200]
    hint = f"codevault trust add https://{shown}" if _BARE.fullmatch(shown) else _FORMS
    return UsageError(f"{shown!r} is no grant", why, hint)
