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

from codevault import userdir
from codevault.errors import CodevaultError, CodevaultWarning, UsageError
from codevault.repositories import canonical, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_KEY: Final = re.compile(
    r"(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp\d+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/]{32,}={0,2}(?=\s|$)"
)
_SIGNED: Final = ";signed-by="


@dataclass(frozen=True, slots=True)
class Grant:
    """One thing that may run: a repository, one commit of it, or one checkpoint.

    Attributes:
        repo: A repository in the form `canonical` gives, or None.
        commit: A full commit of `repo`, or None for all that the repository leads to.
        checkpoint: The digest of one checkpoint's manifest, or None.
        signer: An OpenSSH public key that must have signed the commits of `repo`, or None.
    """

    repo: str | None = None
    commit: str | None = None
    checkpoint: str | None = None
    signer: str | None = None

    def __str__(self) -> str:
        if self.checkpoint is not None:
            return f"sha256:{self.checkpoint}"
        signed = f"{_SIGNED}{self.signer.replace(' ', ':')}" if self.signer else ""
        return f"{self.repo}@{self.commit}" if self.commit else f"{self.repo}{signed}"


def grant(text: str) -> Grant:
    """Reads a grant: `https://host/owner/repo`, `…@<full commit>`, or `sha256:<checkpoint>`.

    A local repository is written with `/`, `~` or `./` in front, or as `file://`. What follows
    `;signed-by=` after a repository is the key that must have signed its commits, with a colon in
    place of the space.

    Raises:
        CodevaultError: It is none of these.
    """
    text = text.strip()
    if text.startswith("sha256:"):
        if re.fullmatch(r"[0-9a-f]{64}", text[7:]):
            return Grant(checkpoint=text[7:])
        raise unreadable(text, "a checkpoint's digest has 64 hexadecimal digits")
    text, signed, key = text.partition(_SIGNED)
    if signed:
        return Grant(repo=canonical(text), signer=public_key(key.replace(":", " ", 1)))
    repo, at, commit = text.rpartition("@")
    if at and _COMMIT.fullmatch(commit):
        return Grant(repo=canonical(repo), commit=commit)
    if at and "/" in repo.partition("://")[2] and "/" not in commit:
        raise unreadable(text, f"{commit!r} is no full commit: branches and tags move")
    return Grant(repo=canonical(text))


def signed(repo: str, key: str) -> str:
    """The text of a grant for commits of a repository that a key has signed.

    Raises:
        CodevaultError: `repo` is no repository, or `key` no key.
    """
    plain = grant(repo)
    if plain.commit or plain.checkpoint or plain.signer:
        raise unreadable(repo, "a signature is demanded of a whole repository")
    return str(Grant(repo=plain.repo, signer=public_key(key)))


def public_key(text: str) -> str:
    """An OpenSSH public key without its comment: given as text, or as the path of a `.pub` file.

    Raises:
        CodevaultError: It is neither.
    """
    given = text.strip()
    with contextlib.suppress(OSError, ValueError):
        if given and not given.startswith(("ssh-", "ecdsa-", "sk-")):
            with open(os.path.expanduser(given), encoding="ascii") as file:
                given = file.readline(1 << 16).strip()
    found = _KEY.match(given)
    if found is None:
        raise UsageError(
            f"{text[:80]!r} is no OpenSSH public key",
            "neither a key nor a readable .pub file",
            "codevault trust add REPO --signed-by ~/.ssh/id_ed25519.pub",
        )
    return found[0]


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

    One that demands a signature takes the place of one for the same repository that does not.

    Raises:
        CodevaultError: The text is no grant, or the file cannot be used.
    """
    new = grant(text)
    with _locked():
        lines = _lines()
        plain = Grant(repo=new.repo) if new.signer else None
        kept = [line for line in lines if plain is None or _tried(line) != plain]
        if new not in [_tried(line) for line in kept]:
            _write([*kept, str(new)])
    return new


def remove(text: str) -> Grant:
    """Takes a grant out of the user's file; a repository's with those that demand signatures.

    Raises:
        CodevaultError: The text is no grant, there is no such grant, or the file cannot be used.
    """
    old = grant(text)
    with _locked():
        lines = _lines()
        kept = [line for line in lines if not _is_taken(_tried(line), old)]
        if len(kept) == len(lines):
            path = userdir.grants_file()
            raise CodevaultError(f"{old} is not granted", path, "codevault trust ls")
        _write(kept)
    return old


def _is_taken(there: Grant | None, old: Grant) -> bool:
    whole = there is not None and old == Grant(repo=there.repo) and there.commit is None
    return there == old or (whole and old.repo is not None)


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
