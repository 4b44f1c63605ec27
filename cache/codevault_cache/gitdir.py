"""Where git keeps things on this machine, found without running anything."""

from __future__ import annotations

import os
from dataclasses import dataclass

from codevault_cache.errors import RepositoryNotFound


@dataclass(frozen=True, slots=True)
class GitDir:
    """The folders of one local repository.

    Attributes:
        git: This work tree's own folder: HEAD and index.
        common: What all work trees share: objects and refs.
        top: The work tree, or None for a bare repository.
    """

    git: str
    common: str
    top: str | None

    @property
    def objects(self) -> str:
        """The object store."""
        return os.path.join(self.common, "objects")


def _pointed(file: str) -> str | None:
    """The folder that a `.git` file or a `commondir` file names, seen from where it lies."""
    try:
        with open(file, encoding="utf-8", errors="surrogateescape") as handle:
            text = handle.read(8192)
    except OSError:
        return None
    text = text.removeprefix("gitdir:").strip()
    return os.path.abspath(os.path.join(os.path.dirname(file), text)) if text else None


def _is_git(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "HEAD")) and (
        os.path.isdir(os.path.join(folder, "objects"))
        or os.path.isfile(os.path.join(folder, "commondir"))
    )


def gitdir_of(path: str) -> GitDir | None:
    """Look at one folder; never at the ones above it.

    Args:
        path: A work tree, a `.git` folder or file, or a bare repository.

    Returns:
        Its folders, or None for a path that is no repository.
    """
    path = os.path.abspath(path)
    inner = os.path.join(path, ".git")
    top: str | None = path
    if os.path.isdir(inner):
        git: str | None = inner
    elif os.path.isfile(inner):
        git = _pointed(inner)
    elif os.path.isfile(path) and os.path.basename(path) == ".git":
        git, top = _pointed(path), os.path.dirname(path)
    else:
        git = path
        top = os.path.dirname(path) if os.path.basename(path) == ".git" else None
    if git is None or not _is_git(git):
        return None
    common = _pointed(os.path.join(git, "commondir")) or git
    return GitDir(git, common, top)


def find_worktree(path: str) -> str | None:
    """Find the git work tree that a file lies in.

    Args:
        path: A file or folder.

    Returns:
        The top folder of the work tree, or None outside of any.
    """
    folder = os.path.abspath(path)
    if not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    while True:
        if os.path.exists(os.path.join(folder, ".git")) and gitdir_of(folder) is not None:
            return folder
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def refs_at(path: str) -> tuple[GitDir, dict[bytes, str]]:
    """A local repository, and the commits and tags that its refs and HEAD name.

    Args:
        path: A work tree, a bare repository or a `.git` folder.

    Returns:
        Its folders; full names of refs to ids.

    Raises:
        RepositoryNotFound: There is no such repository.
    """
    from dulwich.errors import NotGitRepository
    from dulwich.repo import Repo

    found, why = gitdir_of(path), "Folders, wheels and sdists have no past."
    try:
        if found is not None:
            with Repo(found.top or found.git) as repo:
                return found, {name: oid.decode() for name, oid in repo.refs.as_dict().items()}
    except NotGitRepository as error:
        why = str(error)
    raise RepositoryNotFound(
        f"There is no git repository at {path!r}.", why, "git -C PATH rev-parse --git-dir"
    )
