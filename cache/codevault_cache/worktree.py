"""A work tree as it is now: its commit, its changes, and what of it the remote lacks."""

from __future__ import annotations

import os
import shlex
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault_cache.address import public_url
from codevault_cache.errors import CommitNotFound, RepositoryNotFound, UnsafeName, UnsafeUrl
from codevault_cache.gitdir import find_worktree, gitdir_of
from codevault_cache.gittree import Objects, source_at
from codevault_cache.overlay import Overlay
from codevault_cache.pack import digest_of
from codevault_cache.snapshot import Snapshot
from codevault_cache.source import choose, compose
from codevault_cache.treepaths import is_text, shown, typed
from codevault_cache.wanted import Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dulwich.repo import Repo

__all__ = ["Captured", "find_worktree", "read_worktree"]


@dataclass(frozen=True, slots=True)
class Captured:
    """A work tree as it is now.

    Attributes:
        top: Its folder.
        remote: URL of the remote that `base` is on, without user info.
        head: The commit it is at.
        base: The nearest ancestor of `head` that the remote has, as far as this clone knows.
        overlay: The uncommitted changes among the wanted files, relative to `head`.
        snapshot: The snapshot of all this.
        objects: A git pack of the wanted objects that the remote lacks; None if it lacks none.
        diff: The changes since `base`, for people to read.
        tree: The git tree id of `head`.
        paths: The tree paths of the snapshot's files.
    """

    top: str
    remote: str | None
    head: str
    base: str | None
    overlay: Overlay | None
    snapshot: Snapshot
    objects: bytes | None
    diff: bytes | None
    tree: str
    paths: frozenset[str]


def read_worktree(
    top: str,
    *,
    roots: Sequence[str] | None = None,
    shared: Sequence[str] | None = None,
    include: Sequence[str] | None = None,
    embed: bool = False,
    objects: bool = True,
) -> Captured:
    """Read a work tree as it is now; nothing in it or in its repository is written.

    Args:
        top: The work tree, or a folder in it.
        roots: As in `Wanted`.
        shared: As in `Wanted`.
        include: As in `Wanted`.
        embed: Put all wanted objects into `objects`, whether the remote has them or not.
        objects: Whether objects and diff are wanted at all.

    Returns:
        The work tree's state.

    Raises:
        RepositoryNotFound: It is no git work tree.
        CommitNotFound: It has no commit yet.
        SecretRefused: An untracked file looks like a secret.
        UnsafeName: The work tree, a root or a file has a name that is refused.
        TooLarge: The objects are more than may travel.
    """
    from dulwich.errors import NotGitRepository
    from dulwich.repo import Repo

    from codevault_cache.objectstores import read_only
    from codevault_cache.uncommitted import uncommitted
    from codevault_cache.unpushed import diff_of, travelling_of

    place = find_worktree(top)
    found = gitdir_of(place) if place is not None else None
    if place is None or found is None:
        raise RepositoryNotFound(f"{top!r} is in no git work tree.", "", "git init")
    if not is_text(place):
        raise UnsafeName(
            f"The work tree {shown(place)} lies in a folder whose name is no UTF-8.",
            "Records of where code comes from are text; names inside of it may be any bytes.",
            f"mv {typed(place)} /a/folder/of/yours",
        )
    # One form of the arguments, whoever gives them.
    asked = Wanted(
        None,
        roots=None if roots is None else tuple(roots),
        shared=None if shared is None else tuple(shared),
        include=None if include is None else tuple(include),
    )
    with ExitStack() as stack:
        try:
            repo = stack.enter_context(Repo(place))
            head = repo.head().decode()
        except NotGitRepository as error:
            raise RepositoryNotFound(f"{place!r} is no git work tree.", str(error), "") from None
        except KeyError:
            raise CommitNotFound(
                f"The repository {place!r} has no commit yet.",
                "A snapshot is a commit, and changes to it.",
                f"git -C {shlex.quote(place)} commit --allow-empty -m start",
            ) from None
        store = stack.enter_context(read_only(found.objects, head))
        source = source_at(Objects(store), head, place)
        choice = choose(source, asked.roots, asked.shared, asked.include)
        changes, too_large = uncommitted(repo, source, choice.selection)
        overlay = Overlay(changes) if changes else None
        files, left_out = compose(source, choice, overlay)
        remote, base = remote_of(repo, Objects(store), place, head)
        snapshot = Snapshot(
            head,
            choice.roots,
            choice.shared,
            choice.include,
            overlay.digest if overlay is not None else None,
            digest_of(files),
            remote or place,
            tuple(sorted({*left_out, *too_large})),
        )
        pack = diff = None
        if objects:
            below = source_at(Objects(store), base, place) if base is not None else None
            pack = travelling_of(source, head, below, base, choice.selection, overlay, embed=embed)
            diff = diff_of(below or source, source, choice.selection, overlay)
        paths = frozenset(files)
        return Captured(
            place, remote, head, base, overlay, snapshot, pack, diff, source.tree, paths
        )


def remote_of(repo: Repo, objects: Objects, top: str, head: str) -> tuple[str | None, str | None]:
    """Choose the remote that knows most about a commit.

    Args:
        repo: The repository.
        objects: Its objects.
        top: Its work tree, from which relative addresses are seen.
        head: The commit.

    Returns:
        The remote's address, and the nearest ancestor of the commit that it has. A remote that has
        the commit itself wins, then origin, then the others by name.
    """
    from codevault_cache.pushedbase import nearest_on

    urls: dict[str, str] = {}
    config = repo.get_config()
    for section in config.sections():
        if len(section) == 2 and section[0] == b"remote":
            try:
                urls[section[1].decode()] = config.get(section, b"url").decode()
            except (KeyError, UnicodeDecodeError):
                continue
    best: tuple[str | None, str | None] = (None, None)
    for name in sorted(urls, key=lambda name: (name != "origin", name)):
        address = _public(urls[name], top)
        tips = [
            oid.decode()
            for oid in repo.refs.as_dict(f"refs/remotes/{name}".encode()).values()  # type: ignore[arg-type]
        ]
        base = nearest_on(objects, head, tips)
        if base == head:
            return address, base
        if best == (None, None) or (best[1] is None and base is not None):
            best = (address, base)
    return best


def _public(url: str, top: str) -> str | None:
    if "://" not in url and ":" not in url and not os.path.isabs(url):
        url = os.path.join(top, url)
    try:
        return public_url(url)
    except UnsafeUrl:
        return None
