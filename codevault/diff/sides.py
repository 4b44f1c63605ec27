"""What one side of a diff stands for: a checkpoint, a commit, or a folder as it is now."""

from __future__ import annotations

import hashlib
import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from codevault import architecture, checkpointcode
from codevault.checkpoint import ARCHITECTURE, Checkpoint, open_checkpoint, read_member
from codevault.errors import CheckpointError, CodevaultError, MissingCheckpointError, UsageError
from codevault.ranged import remote_code
from codevault.repositories import explicit
from codevault.trust import Allowed
from codevault.uri import local_path, shown
from codevault_cache import Wanted, find_worktree

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codevault.manifest import Manifest
    from codevault_cache import Cache, Snapshot, Tree

_HEX: Final = frozenset("0123456789abcdef")
_READ: Final = Allowed("it is read, and not run", "checkpoint")


@dataclass(frozen=True, slots=True)
class Pinned:
    """What a checkpoint says of its policy.

    Attributes:
        manifest: Its manifest.
        architecture: Its architecture as plain data.
        code: Gives the git objects that travel in it.
    """

    manifest: Manifest
    architecture: Mapping[str, Any]
    code: checkpointcode.Coded


@dataclass(frozen=True, slots=True)
class Named:
    """What a text names, before any code is fetched.

    Attributes:
        text: As it was given.
        pinned: What a checkpoint says; None for anything else.
        repo: The repository or folder with the code, or None where it travels.
        commit: The full commit; None for a folder as it is now.
    """

    text: str
    pinned: Pinned | None
    repo: str | None
    commit: str | None


@dataclass(frozen=True, slots=True)
class Side:
    """One side, with its code in the cache.

    Attributes:
        named: What it is.
        snapshot: Its snapshot.
        tree: The verified files.
    """

    named: Named
    snapshot: Snapshot
    tree: Tree


def is_commit(text: str) -> bool:
    """Whether a text is a full commit, and names no repository."""
    return len(text) in (40, 64) and not set(text) - _HEX


def named(text: str, near: str | None = None) -> Named:
    """What a text names.

    Args:
        text: A checkpoint's path or address, `REPOSITORY@COMMIT`, a folder, or a full commit.
        near: The repository of a bare commit; None takes the work tree around this folder.

    Raises:
        CheckpointError: The file is no checkpoint, or a damaged one.
        UsageError: A commit is not a full one, or nobody says whose it is.
        FetchError: The store does not answer.
    """
    if is_commit(text):
        return Named(text, None, _place(text, near), text)
    place, at, commit = text.rpartition("@")
    if at and is_commit(commit):
        return Named(text, None, place if os.path.isdir(place) else explicit(place), commit)
    path = local_path(text)
    if path is not None and os.path.isdir(path):
        if os.path.exists(os.path.join(path, "policy_spec.json")):
            open_checkpoint(path)  # refused, with the line that makes a checkpoint of it
        return Named(text, None, path, None)
    if at and not os.path.lexists(path or "") and "/" not in commit:
        raise UsageError(
            f"{shown(text)} names no full commit",
            "branches, tags and short ids may name other code tomorrow",
            f"git -C {shlex.quote(place)} rev-parse {shlex.quote((commit or 'HEAD') + '^0')}",
        )
    if path is not None and not os.path.lexists(path) and not path.endswith(".mpt"):
        raise MissingCheckpointError(
            f"{shown(text)} is no checkpoint, folder or full commit",
            "there is no such file, and branches, tags and short ids may name other code tomorrow",
            f"git rev-parse {shlex.quote(f'{text}^0')}",
        )
    pinned = _pinned(text, path)
    repo = pinned.manifest.repo
    return Named(text, pinned, None if repo is None else explicit(repo), pinned.manifest.commit)


def side(what: Named, other: Named, roots: Sequence[str], cache: Cache) -> Side:
    """Has the code of a side in the cache; nothing of it runs, so that no grant is needed.

    Args:
        what: The side.
        other: The other one: a commit is read with the roots of a checkpoint there, as long as it
            has such folders.
        roots: Of a side that is no checkpoint, as the caller says; none takes the above.
        cache: Where the code is kept.

    Raises:
        FetchError: Its code could not be had.
        CodeError: Its code was found and cannot be served.
    """
    if what.pinned is not None:
        snapshot, _ = checkpointcode.ensure_code(what.pinned.code, _READ, cache)
        return Side(what, snapshot, cache.tree(snapshot.digest))
    near = other.pinned.manifest.roots if other.pinned else ()
    try:
        wanted = Wanted(what.repo, what.commit, roots=tuple(roots or near) or None)
        (snapshot,) = checkpointcode.warm([wanted], cache)
    except CodevaultError as error:
        if roots or not near or error.reference != "roots-missing":
            raise
        (snapshot,) = checkpointcode.warm([Wanted(what.repo, what.commit)], cache)
    return Side(what, snapshot, cache.tree(snapshot.digest))


def _place(commit: str, near: str | None) -> str:
    place = near or find_worktree(os.getcwd())
    if place is None:
        raise UsageError(
            f"nobody says which repository has the commit {commit[:12]}",
            "this folder is in no git work tree, and the other side names no repository",
            f"codevault diff REPOSITORY@{commit} ...  # a URL or a path",
        )
    return place


def _pinned(text: str, path: str | None) -> Pinned:
    code: Any = remote_code(text) if path is None else open_checkpoint(path)
    manifest: Manifest = code.manifest
    if isinstance(code, Checkpoint):
        data = read_member(code, ARCHITECTURE)
    else:
        data = code.read(ARCHITECTURE)
        if hashlib.sha256(data).hexdigest() != manifest.architecture:
            raise CheckpointError(
                f"{shown(text)} is damaged: {ARCHITECTURE} is not what was saved",
                f"its sha256 is not {manifest.architecture}, which the manifest states",
                f"codevault verify {shlex.quote(shown(text))}",
            )
    return Pinned(manifest, architecture.parse(data, shown(text)), code)
