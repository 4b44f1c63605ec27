"""Grants, as people write them: read, compared, and kept in this user's file.

The file holds one grant a line, with comments after `#`, and may be edited by hand. It is used only
if nobody else can write it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit

from codevault import userdir
from codevault.errors import CodevaultError, CodevaultWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SCP: Final = re.compile(
    r"(?:(?P<user>[^@/:]+)@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?!/)(?P<path>[^:]+)"
)
_PORTS: Final = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
_FORMS: Final = "codevault trust add https://host/owner/repo (or …@COMMIT, or sha256:CHECKPOINT)"


@dataclass(frozen=True, slots=True)
class Grant:
    """One thing that may run: a repository, one commit of it, or one checkpoint.

    Attributes:
        repo: A repository in the form `canonical` gives, or None.
        commit: A full commit of `repo`, or None for all that the repository leads to.
        checkpoint: The digest of one checkpoint's manifest, or None.
    """

    repo: str | None = None
    commit: str | None = None
    checkpoint: str | None = None

    def __str__(self) -> str:
        if self.checkpoint is not None:
            return f"sha256:{self.checkpoint}"
        return f"{self.repo}@{self.commit}" if self.commit else str(self.repo)


def grant(text: str) -> Grant:
    """Reads a grant: `https://host/owner/repo`, `…@<full commit>`, or `sha256:<checkpoint>`.

    A local repository is written with `/`, `~` or `./` in front, or as `file://`.

    Raises:
        CodevaultError: It is none of these.
    """
    text = text.strip()
    if text.startswith("sha256:"):
        if re.fullmatch(r"[0-9a-f]{64}", text[7:]):
            return Grant(checkpoint=text[7:])
        raise _unreadable(text, "a checkpoint's digest has 64 hexadecimal digits")
    repo, at, commit = text.rpartition("@")
    if at and _COMMIT.fullmatch(commit):
        return Grant(repo=canonical(repo), commit=commit)
    if at and "/" in repo.partition("://")[2] and "/" not in commit:
        raise _unreadable(text, f"{commit!r} is no full commit: branches and tags move")
    return Grant(repo=canonical(text))


def canonical(repo: str) -> str:
    """One spelling of a repository's address, so that equal places compare equal.

    ssh and https to one host and path are the same repository; user info, default ports, a final
    `.git` and slashes do not count; the host's case does not, the path's does. Local paths and
    `file://` become `file://` with the real path.

    Raises:
        CodevaultError: The address cannot be read, or climbs with `..`.
    """
    if not repo.isprintable():
        raise _unreadable(ascii(repo), "it has unprintable characters")
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
        raise _unreadable(repo, "it is no URL") from None
    if parts.scheme not in _PORTS or not host or parts.query or parts.fragment:
        raise _unreadable(repo, "known are https, ssh, git, http, user@host:path, and local paths")
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


def user_grants() -> list[Grant]:
    """The grants of the user's file and of `CODEVAULT_TRUST` (separated by white space).

    What cannot be read is left out with a warning: a broken line must not stop other work.
    """
    texts = [("CODEVAULT_TRUST", text) for text in os.environ.get("CODEVAULT_TRUST", "").split()]
    path = userdir.grants_file()
    try:
        texts += [(f"{path}:{n}", line) for n, line in enumerate(_lines(), 1)]
    except CodevaultError as error:
        warnings.warn(str(error), CodevaultWarning, stacklevel=3)
    found = []
    for where, text in texts:
        try:
            found.append(_parsed(text))
        except CodevaultError as error:
            warnings.warn(f"{where} is no grant: {error.why}", CodevaultWarning, stacklevel=3)
    return [g for g in found if g is not None]


def add(text: str) -> Grant:
    """Adds a grant to the user's file; one that is there already is no error.

    Raises:
        CodevaultError: The text is no grant, or the file cannot be used.
    """
    new = grant(text)
    with _locked():
        lines = _lines()
        if new not in [_tried(line) for line in lines]:
            _write([*lines, str(new)])
    return new


def remove(text: str) -> Grant:
    """Takes a grant out of the user's file.

    Raises:
        CodevaultError: The text is no grant, there is no such grant, or the file cannot be used.
    """
    old = grant(text)
    with _locked():
        lines = _lines()
        kept = [line for line in lines if _tried(line) != old]
        if len(kept) == len(lines):
            path = userdir.grants_file()
            raise CodevaultError(f"{old} is not granted", path, "codevault trust ls")
        _write(kept)
    return old


def _canonical(scheme: str, host: str, port: int | None, path: str) -> str:
    segments = [s for s in path.removesuffix("/").removesuffix(".git").split("/") if s]
    if any(unquote(s) in (".", "..") for s in segments) or not segments:
        raise _unreadable(f"{scheme}://{host}{path}", "its path climbs or is empty")
    try:
        ascii_host = host.lower().encode("idna").decode()
    except UnicodeError:
        ascii_host = host.lower()
    return f"{scheme}://{ascii_host}{f':{port}' if port else ''}/{'/'.join(segments)}"


def _unreadable(text: str, why: str) -> CodevaultError:
    shown = re.sub(r"//[^/@]*@", "//", text)[:200]
    return CodevaultError(f"{shown!r} is no grant", why, _FORMS)


def _parsed(line: str) -> Grant | None:
    text = line.partition("#")[0].strip()
    return grant(text) if text else None


def _tried(line: str) -> Grant | None:
    try:
        return _parsed(line)
    except CodevaultError:
        return None


def _lines() -> list[str]:
    path = userdir.grants_file()
    try:
        with open(path, encoding="utf-8") as file:
            info = os.fstat(file.fileno())
            if not all(map(userdir.only_ours, (info, os.stat(os.path.dirname(path))))):
                raise CodevaultError(
                    "the file of grants is not used, because others could write it",
                    f"{path} has mode {stat.S_IMODE(info.st_mode):o} and owner {info.st_uid}",
                    f"chmod go-w {shlex.quote(os.path.dirname(path))} {shlex.quote(path)}",
                )
            return file.read().splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise CodevaultError(
            "the file of grants cannot be read", f"{path}: {error}", f"ls -l {shlex.quote(path)}"
        ) from error


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Two commands at once must not lose a line of each other."""
    import fcntl

    folder = os.path.dirname(userdir.grants_file())
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with open(os.path.join(folder, ".trust.lock"), "a", encoding="utf-8") as file:
        with contextlib.suppress(OSError):  # without locks the last writer wins
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(lines: list[str]) -> None:
    path = os.path.realpath(userdir.grants_file())
    userdir.replace(path, "".join(f"{line}\n" for line in lines).encode())
