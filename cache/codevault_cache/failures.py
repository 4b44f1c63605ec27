"""What a failed conversation with a server means: another try, or an error that explains it."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from dulwich.client import HTTPProxyUnauthorized, HTTPUnauthorized
from dulwich.errors import GitProtocolError, HangupException, NotGitRepository

from codevault_cache.errors import (
    CacheError,
    CommitNotFound,
    CredentialsMissing,
    RepositoryNotFound,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault_cache.address import Address

_NO_COMMIT = re.compile(
    "not our ref|not a valid object|no such (?:ref|object)|unadvertised object|not valid", re.I
)
_NO_ENTRY = re.compile("authentication failed|could not read (?:username|password)", re.I)
_NO_REPOSITORY = re.compile(
    "repository not exported|repository not found|not appear to be a git repository"
    "|no such repository"
    "|project you were looking for|does not exist|access denied",
    re.I,
)


class Busy(Exception):  # noqa: N818  (it is caught in this room)
    """A server asks to be asked later.

    Attributes:
        after: Seconds that it asks for, or 0.
    """

    def __init__(self, status: int, after: float) -> None:
        super().__init__(f"HTTP status {status}")
        self.after = after


def may_pass(error: Exception) -> bool:
    """Tell whether a failure may be gone in a moment: a dropped connection is, an answer is not."""
    if isinstance(error, HangupException):
        return not error.stderr_lines
    if isinstance(error, (ConnectionResetError, BrokenPipeError, Busy)):
        return True
    from urllib3.exceptions import ProtocolError

    # The http library wraps a failure once, twice or three times.
    pending: list[object] = [error.__cause__] if isinstance(error, GitProtocolError) else []
    while pending:
        cause = pending.pop()
        if isinstance(cause, (ProtocolError, ConnectionResetError, BrokenPipeError)):
            return True
        pending += [getattr(cause, name, None) for name in ("reason", "original_error")]
        pending = [each for each in pending if isinstance(each, Exception)]
    return False


def explained(error: Exception, address: Address, words: str, wants: Sequence[str]) -> CacheError:
    """Say what a failure means.

    Args:
        error: What was raised.
        address: The server's repository.
        words: What the server said, or nothing.
        wants: What it was asked for.

    Returns:
        The error to raise; nothing in it is secret.
    """
    url = address.public
    said = words or scrubbed(f"{error}", address) or type(error).__name__
    look = f"git ls-remote {shlex.quote(url)}"
    if _NO_COMMIT.search(said):
        missing = next((want for want in wants if want in said), wants[0])
        return CommitNotFound(
            f"{url} does not have {missing}.",
            f"The server said: {said[:300]}",
            "git push, from a clone that has it; or name that clone: repo=PATH",
        )
    if isinstance(error, (HTTPUnauthorized, HTTPProxyUnauthorized)) or _NO_ENTRY.search(said):
        return CredentialsMissing(
            f"{url} asks for credentials, and accepts none that are known here.",
            "Asked: the address, CODEVAULT_TOKEN_<HOST>, ~/.netrc, git credential fill.",
            look,
        )
    if isinstance(error, NotGitRepository) or _NO_REPOSITORY.search(said):
        return RepositoryNotFound(
            f"There is no repository at {url}, or it is hidden from this user.",
            f"The server said: {said[:300]}",
            look,
        )
    return Unreachable(
        f"{url} cannot be reached, or stopped answering.",
        f"{type(error).__name__}: {said[:300]}",
        look,
    )


def scrubbed(text: str, address: Address) -> str:
    """An error's text without the user info of the address, and in one line."""
    for secret in (address.password, address.user):
        if secret is not None and len(secret) > 3:
            text = text.replace(secret, "…")
    text = re.sub(r"//[^/@\s]+@", "//", text)
    return re.sub("[\x00-\x1f\x7f-\x9f]+", " ", text).strip()
