"""The errors of the cache: each says what happened, why, and one thing that works today."""

# The names say what happened; "Error" behind each would say it twice.
# ruff: noqa: N818

from __future__ import annotations


class CacheError(Exception):
    """Base of all errors that the cache raises on purpose.

    Attributes:
        reference: Kebab-case name of the kind of error; stable, for scripts and searches.
        what: What happened, in one sentence.
        why: The cause, with the values that decide it.
        hint: One command or line that works today; may be empty.
    """

    reference = "cache-error"

    def __init__(self, what: str, why: str = "", hint: str = "") -> None:
        self.what, self.why, self.hint = what, why, hint
        super().__init__(what, why, hint)

    def __str__(self) -> str:
        lines = [f"{self.what} [{self.reference}]"]
        if self.why:
            lines.append(f"  why: {self.why}")
        if self.hint:
            lines.append(f"  do:  {self.hint}")
        return "\n".join(lines)


class CommitNotFound(CacheError, LookupError):
    """The origin answered, and does not have the commit."""

    reference = "commit-not-found"


class RepositoryNotFound(CacheError, LookupError):
    """The origin answered, and has no such repository (or hides it from this user)."""

    reference = "repository-not-found"


class CredentialsMissing(RepositoryNotFound, PermissionError):
    """The origin asks who is there, and accepts no answer that is known here."""

    reference = "credentials-missing"


class Unreachable(CacheError, ConnectionError):
    """The origin did not answer, or stopped answering."""

    reference = "origin-unreachable"


class SignaturesUnchecked(CacheError, OSError):
    """There is no OpenSSH here that could check a commit's signature."""

    reference = "signatures-unchecked"


class Offline(CacheError, ConnectionError):
    """A fetch is needed, and CODEVAULT_OFFLINE forbids it."""

    reference = "offline"


class BadCommit(CacheError, ValueError):
    """A commit is not a full lower-case hexadecimal id."""

    reference = "bad-commit"


class UnsafeName(CacheError, ValueError):
    """A path of the tree must not become a file on this machine."""

    reference = "unsafe-name"


class UnsafeUrl(CacheError, ValueError):
    """A repository address is of a kind that is never contacted."""

    reference = "unsafe-url"


class HostileObject(CacheError, ValueError):
    """A git object, pack or archive is malformed in a way that honest tools do not produce."""

    reference = "hostile-object"


class CorruptEntry(CacheError, OSError):
    """Bytes in the cache are not the bytes that their name promises."""

    reference = "corrupt-entry"


class Unreadable(CacheError, OSError):
    """An entry cannot be read by this process now; nothing shows that it is damaged."""

    reference = "cache-unreadable"


class Unwritable(CacheError, OSError):
    """The cache's first folder does not take what was fetched."""

    reference = "cache-unwritable"


class Held(CacheError, RuntimeError):
    """An entry cannot be removed: it is pinned, or a running process uses it."""

    reference = "entry-held"


class DigestMismatch(CacheError, ValueError):
    """The code that was fetched is not the code that was asked for."""

    reference = "digest-mismatch"


class RootsMissing(CacheError, LookupError):
    """A root does not exist in the tree."""

    reference = "roots-missing"


class LeftOut(CacheError, LookupError):
    """A file that was asked for by name is not to be had."""

    reference = "left-out"


class SubmoduleRefused(CacheError, ValueError):
    """A submodule lies under a root: its code is in another repository."""

    reference = "submodule-refused"


class LfsPointer(CacheError, ValueError):
    """A module's content is a git-lfs pointer, not Python."""

    reference = "lfs-pointer"


class SecretRefused(CacheError, ValueError):
    """An untracked file looks like a secret, and would travel in a checkpoint."""

    reference = "secret-refused"


class EncodingRefused(CacheError, ValueError):
    """An uncommitted file is to be converted from an encoding that git would refuse as well."""

    reference = "encoding-refused"


class TooLarge(CacheError, ValueError):
    """A limit of the cache is exceeded."""

    reference = "too-large"


class Missing(CacheError, LookupError):
    """The cache does not hold what was asked for."""

    reference = "not-in-cache"
