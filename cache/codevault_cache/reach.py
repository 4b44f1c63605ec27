"""Proves that a commit belongs to a repository: that one of its branches or tags leads to it.

Hosts serve the commits of forks, and of anybody's pull request, under the parent's address: having
fetched a commit from a repository does not mean that its owners ever took it in. For the proof only
commits are fetched, without trees, and it is written down: it is needed once.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import stat
from typing import TYPE_CHECKING

from codevault_cache import environ, paths
from codevault_cache.address import address_of, public_url
from codevault_cache.errors import CredentialsMissing, Offline, RepositoryNotFound

if TYPE_CHECKING:
    from dulwich.object_store import BaseObjectStore

    from codevault_cache.address import Address
    from codevault_cache.cache import Cache
    from codevault_cache.systemgit import SystemGit
    from codevault_cache.wire import Wire

_PREFIXES = (b"refs/heads/", b"refs/tags/")
_NO_TREES = "tree:0"
_PACK_BYTES = 256 << 20
"""Far above any history without trees; a server that ignores the filter sends more."""


def is_reachable(cache: Cache, repo: str, commit: str) -> bool:
    """Tell whether a branch or tag that a repository advertises leads to a commit.

    Args:
        cache: Where a proof is looked up, and written down.
        repo: The repository.
        commit: A full commit id.

    Returns:
        False where it could not be proven.

    Raises:
        CacheError: The repository does not answer, or a proof is needed and CODEVAULT_OFFLINE
            forbids to ask.
    """
    line = f"codevault-reachable-1\n{public_url(repo)}\n{commit}\n".encode()
    key = hashlib.sha256(line).hexdigest()
    if any(is_proof(paths.proof(root, key), line) for root in cache.roots):
        return True
    address = address_of(repo)
    if address.kind != "local":
        from codevault_cache.gitconfig import moved

        address = moved(repo)
    if address.kind == "local":
        found = _locally(address.path, commit)
    elif environ.offline():
        raise Offline(
            f"Whether {address.public} holds the commit is not known here yet.",
            "CODEVAULT_OFFLINE forbids asking.",
            f"codevault trust add {shlex.quote(address.public)}@{commit}",
        )
    else:
        found = _remotely(address, commit)
    if not found:
        return False
    from codevault_cache.publish import publish_file

    root = cache.roots[0]
    paths.prepare(root)
    publish_file(paths.proof(root, key), paths.tmp(root), (line,))
    return True


def is_proof(path: str, line: bytes) -> bool:
    """A proof counts only if nobody but this user and root could have written it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        ours = not hasattr(os, "geteuid") or status.st_uid in (os.geteuid(), 0)
        closed = stat.S_ISREG(status.st_mode) and not status.st_mode & 0o022
        return ours and closed and file.read(len(line) + 1) == line


def _locally(path: str, commit: str) -> bool:
    from dulwich.errors import NotGitRepository
    from dulwich.repo import Repo

    try:
        with Repo(path) as repo:
            refs = repo.refs.as_dict()
            tips = {oid.decode() for name, oid in refs.items() if name.startswith(_PREFIXES)}
            return commit.encode() in _ancestors(repo.object_store, tips)
    except NotGitRepository as error:
        raise RepositoryNotFound(f"{path!r} is no git repository.", str(error), "") from None


def _remotely(address: Address, commit: str) -> bool:
    from codevault_cache.systemgit import SystemGit
    from codevault_cache.wire import wire

    with wire(address) as server:
        try:
            return _proven(server, commit)
        except CredentialsMissing:
            if shutil.which("git") is None:
                raise
            return _proven(SystemGit(address), commit)


def _proven(server: Wire | SystemGit, commit: str) -> bool:
    import tempfile

    from codevault_cache.depot import add_pack, depot
    from codevault_cache.publish import unfinished

    tips = server.tips(_PREFIXES)
    if commit in tips:
        return True
    if not tips:
        return False
    with tempfile.TemporaryDirectory(prefix="codevault-reach-") as folder:
        objects = os.path.join(folder, "objects")
        with depot(objects, commit) as store:
            with unfinished(folder) as (fd, path), os.fdopen(fd, "wb", closefd=False) as file:
                server.fetch(file, sorted(tips), filter_spec=_NO_TREES, limit=_PACK_BYTES)
                add_pack(objects, fd, path, folder, sha256=len(commit) == 64)
            return commit.encode() in _ancestors(store, tips)


def _ancestors(store: BaseObjectStore, tips: set[str]) -> set[bytes]:
    from dulwich.objects import Commit, ObjectID, Tag

    seen: set[bytes] = set()
    waiting = [tip.encode() for tip in tips]
    while waiting:
        oid = waiting.pop()
        if oid in seen:
            continue
        try:
            found = store[ObjectID(oid)]  # hashed again on every read
        except KeyError:
            continue
        seen.add(oid)
        if isinstance(found, Commit):
            waiting += found.parents
        elif isinstance(found, Tag):
            waiting.append(found.object[1])
    return seen
