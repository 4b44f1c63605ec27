"""What a name in a command stands for: a checkpoint, a pattern, a run folder, or a commit."""

from __future__ import annotations

import glob
import os
import re
import shlex
from typing import TYPE_CHECKING

from codevault.errors import FetchError, MissingCheckpointError, UsageError
from codevault.grants import grant
from codevault.uri import local_path, reading, shown, state_in
from codevault_cache import public_url
from codevault_cache.traffic import count

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    State = tuple[int | None, str]

_SUFFIX = ".mpt"
_MOVING = re.compile(
    r"(?:(?:https?|ssh|git)://[^/@]*@?[^/@]+/[^@]*|[^@/:]+@[^@/:]+:[^@]+)@[^@./?:*\[]+"
)
"""A repository with a name that is no full commit behind it, and no file."""


def targets(
    name: str | os.PathLike[str], states: MutableMapping[str, State] | None = None
) -> list[str]:
    """The checkpoints and commits that a name stands for, sorted.

    A pattern has `*` or `[…]` (on this machine also `?`), and `**` for folders at any depth. A
    local folder, or a remote address that ends in `/`, stands for the `.mpt` files in it; so does
    a local folder that a pattern matches.

    Args:
        name: The name.
        states: Takes what a listing says of each remote file's state.

    Raises:
        MissingCheckpointError: Nothing matches.
        UsageError: It is a repository with a branch, a tag or a short id.
        FetchError: The store does not answer.
    """
    text = os.fspath(name)
    if commit_of(text) is not None:
        return [text]
    if _MOVING.fullmatch(text):
        raise UsageError(
            f"{shown(text)} names no full commit",
            "branches, tags and short ids may name other code tomorrow; 40 (or 64) lower-case hex "
            "digits do not",
            f"git ls-remote {shlex.quote(public_url(text.rpartition('@')[0]))}",
        )
    path = local_path(text)
    place, at, revision = text.rpartition("@")
    if at and "/" not in revision and os.path.isdir(place) and not os.path.lexists(path or ""):
        folder, name = shlex.quote(place), shlex.quote(f"{revision or 'HEAD'}^0")
        raise UsageError(
            f"{shown(text)} names no full commit",
            "branches, tags and short ids may name other code tomorrow",
            f"codevault prefetch {folder}@$(git -C {folder} rev-parse {name})",
        )
    if path is None:
        pattern = f"{text}*{_SUFFIX}" if text.endswith("/") else text
        found = (
            _remote(pattern, {} if states is None else states)
            if "*" in pattern or "[" in pattern
            else [text]
        )
    elif glob.has_magic(path) and not os.path.lexists(path):
        matches = sorted(glob.iglob(path, recursive=True))
        found = [file for match in matches for file in _in_folder(match) or [match]]
        found = [file for file in found if not os.path.isdir(file)]
    else:
        found = _in_folder(path) if os.path.isdir(path) else [text]
    if not found:
        # From the last folder that is named for certain.
        head = os.path.dirname(re.split(r"[*?[]", os.path.join(shown(text), ""))[0])
        folder = os.path.join(head, "**", "*" + _SUFFIX)
        raise MissingCheckpointError(
            f"{shown(text)} stands for no checkpoint",
            "it is a pattern, or a folder, in which no checkpoint lies",
            f"codevault prefetch {shlex.quote(folder)}",
        )
    return found


def commit_of(text: str) -> tuple[str, str] | None:
    """Repository and commit of `repository@<full commit>`; None for a checkpoint's URI.

    Raises:
        CodevaultError: The repository is none that can be granted.
    """
    repo, _, commit = text.rpartition("@")
    if not repo or len(commit) not in (40, 64) or set(commit) - set("0123456789abcdef"):
        return None
    if os.path.isdir(repo):  # a grant needs to be told a folder from a host's name
        repo = os.path.abspath(repo)
    grant(f"{repo}@{commit}")
    return repo, commit


def _in_folder(path: str) -> list[str]:
    """The checkpoints right in a folder; none for anything else."""
    if not os.path.isdir(path):
        return []
    return sorted(e.path for e in os.scandir(path) if e.name.endswith(_SUFFIX) and e.is_file())


def _remote(pattern: str, states: MutableMapping[str, State]) -> list[str]:
    with reading(pattern) as (store, inner):
        if "::" in pattern:
            raise FetchError(
                f"{shown(pattern)} is a pattern inside an archive",
                "of chained addresses only single files are taken",
                "name its files one by one",
            )
        store.invalidate_cache()
        count(requests=1)
        found = store.glob(inner, detail=True)
        files = {store.unstrip_protocol(p): i for p, i in found.items() if i["type"] == "file"}
        states.update({uri: state_in(info) for uri, info in files.items()})
        return sorted(files)
