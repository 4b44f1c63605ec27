"""What may run: grants for repositories, single commits and single checkpoints.

What a checkpoint says of itself grants nothing. A grant for a repository covers code that is
fetched from that repository; code that travels inside a checkpoint needs a grant for its commit or
for that checkpoint. Saving a policy grants one's own checkpoint.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, unquote, urlsplit

from codevault import userdir
from codevault.errors import CodevaultError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from codevault.manifest import Manifest

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SCP = re.compile(r"(?:[^@/]+@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?!/)(?P<path>[^:]+)")
_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}


@dataclass(frozen=True, slots=True)
class Grant:
    """One thing that may run: a repository, one commit of it, or one checkpoint.

    Attributes:
        repo: A repository in the form `canonical` gives, or None.
        commit: A full commit of `repo`, or None for all that the repository serves.
        checkpoint: The checkpoint digest of one checkpoint, or None.
    """

    repo: str | None = None
    commit: str | None = None
    checkpoint: str | None = None

    def __str__(self) -> str:
        if self.checkpoint is not None:
            return f"sha256:{self.checkpoint}"
        return f"{self.repo}@{self.commit}" if self.commit else str(self.repo)


@dataclass(frozen=True, slots=True)
class Allowed:
    """Why code may run, and how much that covers.

    Attributes:
        reason: For people.
        scope: "checkpoint" covers all that is in it; "commit" covers that commit, wherever its
            objects come from; "repository" covers what its branches and tags lead to.
    """

    reason: str
    scope: Literal["checkpoint", "commit", "repository"]


def grant(text: str) -> Grant:
    """Reads a grant: `https://host/owner/repo`, `…@<full commit>`, or `sha256:<checkpoint digest>`.

    Raises:
        CodevaultError: It is none of these.
    """
    text = text.strip()
    if text.startswith("sha256:") and re.fullmatch(r"[0-9a-f]{64}", text[7:]):
        return Grant(checkpoint=text[7:])
    repo, at, commit = text.rpartition("@")
    if at and _COMMIT.fullmatch(commit):
        return Grant(repo=canonical(repo), commit=commit)
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
        raise CodevaultError("a grant has unprintable characters", ascii(repo), "")
    scp = _SCP.fullmatch(repo)
    if scp and "://" not in repo:
        return _canonical("https", scp["host"], None, "/" + scp["path"])
    try:
        parts = urlsplit(repo)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit("unreadable://"), None, None
    if parts.scheme in ("", "file"):
        path = unquote(parts.path) if parts.scheme else repo
        return "file://" + quote(os.path.realpath(os.path.expanduser(path)).removesuffix("/.git"))
    if parts.scheme not in _PORTS or not host or parts.query or parts.fragment:
        raise CodevaultError(
            "a grant names no repository that can be read",
            "known forms: https://, ssh://, git://, http://, user@host:path, file:// and paths",
            "codevault trust add https://github.com/owner/repo",
        )
    if port == _PORTS[parts.scheme]:
        port = None
    scheme = "https" if parts.scheme == "ssh" and port is None else parts.scheme
    return _canonical(scheme, host, port, parts.path)


def _canonical(scheme: str, host: str, port: int | None, path: str) -> str:
    segments = [s for s in path.removesuffix("/").removesuffix(".git").split("/") if s]
    if any(unquote(s) in (".", "..") for s in segments) or not segments:
        raise CodevaultError("a grant's path climbs or is empty", f"{'/'.join(segments)!r}", "")
    try:
        ascii_host = host.lower().encode("idna").decode()
    except UnicodeError:
        ascii_host = host.lower()
    return f"{scheme}://{ascii_host}{f':{port}' if port else ''}/{'/'.join(segments)}"


def user_grants() -> list[Grant]:
    """The grants of the user's file and of `CODEVAULT_TRUST` (separated by white space)."""
    texts = os.environ.get("CODEVAULT_TRUST", "").split()
    try:
        with open(userdir.grants_file(), encoding="utf-8") as file:
            lines = [line.partition("#")[0].strip() for line in file]
    except FileNotFoundError:
        lines = []
    return [grant(text) for text in (*lines, *texts) if text]


def allow(manifest: Manifest, trust: Iterable[str] | None) -> Allowed:
    """Decides whether a checkpoint's code may run.

    Args:
        manifest: The checkpoint's manifest.
        trust: Grants; None reads the user's.

    Raises:
        RefusedError: No grant covers it; the message has the command that would grant it.
    """
    grants = user_grants() if trust is None else [grant(text) for text in trust]
    digest = manifest.checkpoint_digest
    if any(g.checkpoint == digest for g in grants):
        return Allowed(f"checkpoint sha256:{digest[:12]}… is granted", "checkpoint")
    if trust is None and userdir.read("saved", digest) is not None:
        return Allowed("saved by this user on this machine", "checkpoint")
    travels = (
        manifest.overlay is not None or manifest.commit is None or manifest.base != manifest.commit
    )
    if manifest.repo is not None and not travels:
        repo = canonical(manifest.repo)
        for g in grants:
            if g.repo == repo and g.commit == manifest.commit:
                return Allowed(f"{g} is granted", "commit")
            if g.repo == repo and g.commit is None:
                return Allowed(f"{g} is granted", "repository")
    raise _refusal(manifest, travels)


def remember_saved(manifest: Manifest) -> None:
    """Grants a checkpoint that this user has just written."""
    userdir.write("saved", manifest.checkpoint_digest, b"")


def _refusal(manifest: Manifest, travels: bool) -> RefusedError:
    commit = (manifest.commit or "none")[:12]
    repo = "none" if manifest.repo is None else canonical(manifest.repo)
    if travels or manifest.repo is None:
        what = "uncommitted changes travel in it" if manifest.overlay else "its code travels in it"
        return RefusedError(
            "this checkpoint's code has no grant to run here",
            f"{what} (repository {repo}, commit {commit}), so only a grant for "
            "the checkpoint itself covers it",
            f"codevault trust add sha256:{manifest.checkpoint_digest}",
        )
    return RefusedError(
        "this checkpoint's code has no grant to run here",
        f"it is commit {commit} of {repo}",
        f"codevault trust add {repo}",
    )
