"""The address of a repository: parsed strictly, or refused.

A repository address can come from a checkpoint that somebody else wrote. It is parsed here,
strictly, before any git library sees it: unknown schemes would fall through to ssh there.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from codevault_cache.errors import UnsafeUrl

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]+\]")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}")
_SCP = re.compile(r"(?:(?P<user>[^@/:]+)@)?(?P<host>[^@/:]+):(?P<path>[^:].*)")
_BAD = re.compile("[\x00-\x20\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Address:
    """A place that git objects or files can be had from.

    Attributes:
        kind: "local", "http", "git" or "ssh".
        public: The address without user info: the form that is stored and printed.
        host: Host name, for ssh and git.
        port: Port, or None.
        path: Path on the host, or the local path.
        base: Scheme, host and port, for http.
        user: User name, or None.
        password: Password or token, or None.
    """

    kind: str
    public: str
    host: str
    port: int | None
    path: str
    base: str
    user: str | None
    password: str | None

    def __repr__(self) -> str:
        return f"Address({self.public!r})"


def _refuse(shown: str, why: str) -> UnsafeUrl:
    return UnsafeUrl(
        f"The repository address {ascii(shown)[:200]} is refused.",
        why,
        "repo=https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH or a local path",
    )


def _local(path: str) -> Address:
    absolute = os.path.abspath(os.path.expanduser(path))
    return Address("local", absolute, "", None, absolute, "", None, None)


def address_of(repo: str) -> Address:
    """Take a repository address apart.

    Args:
        repo: A URL, the short ssh form, or a local path.

    Returns:
        Its parts.

    Raises:
        UnsafeUrl: It is of a kind that is never contacted.
    """
    if "://" in repo:
        return _url(repo)
    if os.path.exists(os.path.expanduser(repo)) and not repo.startswith("-"):
        return _local(repo)
    if not repo or repo.startswith("-") or "::" in repo:
        raise _refuse(repo.rpartition("@")[2], "It is an option or a helper, not an address.")
    match = _SCP.fullmatch(repo)
    if match is None or "/" in repo.split(":", 1)[0]:
        return _local(repo)
    user, host, path = match["user"], match["host"], match["path"]
    if user is None and len(host) == 1:
        return _local(repo)  # a drive letter
    if not _HOST.fullmatch(host) or _BAD.search(repo) or path.startswith("-"):
        raise _refuse(f"{host}:…", "Its host or path is malformed.")
    if user is not None and not _USER.fullmatch(user):
        raise _refuse(f"{host}:…", "Its user name is malformed.")
    return Address("ssh", _ssh_user(user) + f"{host}:{path}", host, None, path, "", user, None)


def _ssh_user(user: str | None) -> str:
    # The customary account of git servers is no secret, and the address does not work without it.
    return "git@" if user == "git" else ""


def _url(repo: str) -> Address:
    scheme = repo.split("://", 1)[0].lower()
    try:
        parts = urlsplit(repo)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _refuse(f"{scheme}://…", str(error)) from None
    shown = f"{scheme}://{host}{parts.path}"
    if _BAD.search(repo):
        raise _refuse(shown, "It has spaces or control characters.")
    if scheme == "file":
        if host not in ("", "localhost"):
            raise _refuse(shown, "A file address names no host.")
        return _local(unquote(parts.path))
    kinds = {"https": "http", "http": "http", "ssh": "ssh", "git+ssh": "ssh", "git": "git"}
    if scheme not in kinds:
        raise _refuse(shown, f"The scheme {scheme!a} is not one that codevault contacts.")
    bracketed = f"[{host}]" if ":" in host else host
    if not _HOST.fullmatch(bracketed):
        raise _refuse(shown, "Its host is malformed.")
    path = parts.path if kinds[scheme] == "http" else unquote(parts.path)
    if path.strip("/").startswith("-") or _BAD.search(path) or len(path) < 2:
        raise _refuse(shown, "Its path is malformed.")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    place = bracketed + (f":{port}" if port else "")
    if kinds[scheme] == "ssh":
        if user is not None and not _USER.fullmatch(user):
            raise _refuse(shown, "Its user name is malformed.")
        public = f"ssh://{_ssh_user(user)}{place}{parts.path}"
        return Address("ssh", public, host, port, path, "", user, None)
    public = f"{scheme}://{place}{parts.path}"
    base = f"{scheme}://{place}"
    return Address(kinds[scheme], public, host, port, path, base, user, password)


def public_url(repo: str) -> str:
    """An address without user info, query and fragment: the form to store and to print."""
    return address_of(repo).public
