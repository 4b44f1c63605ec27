"""Proves that a commit belongs to a repository: that one of its branches or tags leads to it.

Hosts serve the commits of forks, and of anybody's pull request, under the parent's address: having
fetched a commit from a repository does not mean that its owners ever took it in. For the proof only
commits are fetched, without trees, and it is written down: it is needed once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import stat
import time
from typing import TYPE_CHECKING

from codevault_cache import environ, paths
from codevault_cache.address import address_of, public_url
from codevault_cache.errors import CredentialsMissing, Offline, TooLarge
from codevault_cache.removal import DAY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault_cache.address import Address
    from codevault_cache.cache import Cache
    from codevault_cache.systemgit import SystemGit
    from codevault_cache.wire import Wire

_PREFIXES = (b"refs/heads/", b"refs/tags/")
_NO_TREES = "tree:0"
_PACK_BYTES = 256 << 20
"""Far above any history without trees; a server that ignores the filter sends more."""


def is_reachable(cache: Cache, repo: str, commit: str) -> bool:
    """Tell of one commit what `reachable` tells of several."""
    return bool(reachable(cache, repo, [commit]))


def reachable(cache: Cache, repo: str, commits: Sequence[str]) -> frozenset[str]:
    """Tell to which commits a branch or tag that a repository advertises leads.

    Args:
        cache: Where proofs are looked up, and written down.
        repo: The repository; it is asked at most once.
        commits: Full commit ids.

    Returns:
        Those for which it is proven.

    Raises:
        CacheError: The repository does not answer, or a proof is needed and CODEVAULT_OFFLINE
            forbids to ask.
    """
    places = {place_of(proof_of(repo, commit)): commit for commit in commits}
    found: set[str] = set()

    def known(place: str) -> bool:
        return is_noted(cache, proof_of(repo, places[place]))

    def ask(some: Sequence[str]) -> None:
        for commit in _found(repo, [places[place] for place in some]):
            note(cache, proof_of(repo, commit))
            found.add(commit)

    unproven = [place for place in places if not known(place)]
    if unproven:
        from codevault_cache.election import once

        once(cache.roots[0], unproven, known, ask)
    return frozenset(c for place, c in places.items() if c in found or known(place))


def proof_of(repo: str, commit: str) -> bytes:
    """What is noted when a branch or tag of a repository leads to a commit."""
    return f"codevault-reachable-1\n{public_url(repo)}\n{commit}\n".encode()


def place_of(line: bytes) -> str:
    """The name under which a proof is noted."""
    return hashlib.sha256(line).hexdigest()


def is_noted(cache: Cache, line: bytes) -> bool:
    """Tell whether a proof is in a cache, and counts."""
    return any(is_proof(paths.proof(root, place_of(line)), line) for root in cache.roots)


def note(cache: Cache, line: bytes) -> None:
    """Write a proof down; the caller answers for it.

    Raises:
        Unwritable: The first folder does not take it.
    """
    from codevault_cache.atomicwrite import publish_file, written

    root = cache.roots[0]
    with written(root):
        paths.prepare(root)
        publish_file(paths.proof(root, place_of(line)), paths.tmp(root), (line,))


def _found(repo: str, commits: Sequence[str]) -> frozenset[str]:
    address = address_of(repo)
    if address.kind != "local":
        from codevault_cache.gitconfig import moved

        address = moved(repo)
    if address.kind == "local":
        return _locally(address.path, commits)
    if environ.offline():
        raise Offline(
            f"Whether {address.public} holds the commit is not known here yet.",
            "CODEVAULT_OFFLINE forbids asking.",
            f"codevault trust add {shlex.quote(address.public)}@{commits[0]}",
        )
    return _remotely(address, commits)


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
        proves = ours and closed and file.read(len(line) + 1) == line
        if proves and time.time() - status.st_mtime > DAY:  # noted for those who collect
            with contextlib.suppress(OSError):
                os.utime(fd)
        return proves


def _locally(path: str, commits: Sequence[str]) -> frozenset[str]:
    from codevault_cache.commits import led_to
    from codevault_cache.gitdir import refs_at
    from codevault_cache.gittree import Objects
    from codevault_cache.objectstores import read_only

    found, refs = refs_at(path)
    tips = [oid for name, oid in refs.items() if name.startswith(_PREFIXES)]
    with read_only(found.objects, commits[0]) as store:
        return frozenset(commits).intersection(led_to(Objects(store), tips))


def _remotely(address: Address, commits: Sequence[str]) -> frozenset[str]:
    from codevault_cache.systemgit import SystemGit
    from codevault_cache.wire import wire

    with wire(address) as server:
        try:
            return _proven(server, commits)
        except CredentialsMissing:
            if shutil.which("git") is None:
                raise
            return _proven(SystemGit(address), commits)


def _proven(server: Wire | SystemGit, commits: Sequence[str]) -> frozenset[str]:
    import tempfile

    from codevault_cache.atomicwrite import unfinished
    from codevault_cache.commits import led_to
    from codevault_cache.gittree import Objects
    from codevault_cache.objectstores import add_pack, depot

    tips = server.tips(_PREFIXES)
    if not tips or tips.issuperset(commits):
        return frozenset(commits) & tips
    with tempfile.TemporaryDirectory(prefix="codevault-reach-") as folder:
        objects = os.path.join(folder, "objects")
        with depot(objects, commits[0]) as store:
            with unfinished(folder) as (fd, path), os.fdopen(fd, "wb", closefd=False) as file:
                try:
                    server.fetch(file, sorted(tips), filter_spec=_NO_TREES, limit=_PACK_BYTES)
                except TooLarge:
                    raise _too_much(server.address.public, commits[0]) from None
                add_pack(objects, fd, path, folder, sha256=len(commits[0]) == 64)
            return frozenset(commits).intersection(led_to(Objects(store), tips))


def _too_much(repo: str, commit: str) -> TooLarge:
    return TooLarge(
        f"Whether a branch or tag of {repo} leads to {commit[:12]} cannot be found out.",
        "Its server sends commits together with their files: "
        f"more than {_PACK_BYTES:,} bytes for the whole past.",
        f"codevault trust add {shlex.quote(repo)}@{commit}",
    )
