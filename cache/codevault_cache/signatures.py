"""Proves that a commit was signed by one of the keys that a user trusts.

ssh signatures, as `git commit -S` with `gpg.format=ssh` makes them; OpenSSH checks them. A commit
without a signature is signed by nobody. The proof is about the commit's content, whatever
repository it came from, and is written down: it is needed once.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from typing import TYPE_CHECKING

from codevault_cache import environ
from codevault_cache.address import address_of
from codevault_cache.errors import (
    CommitNotFound,
    CredentialsMissing,
    Offline,
    SignaturesUnchecked,
)
from codevault_cache.reachability import is_noted, note, place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dulwich.objects import Commit

    from codevault_cache.address import Address
    from codevault_cache.cache import Cache
    from codevault_cache.systemgit import SystemGit
    from codevault_cache.wire import Wire


def is_signed(cache: Cache, repo: str, commit: str, keys: Sequence[str]) -> bool:
    """Tell whether a commit has a good signature by one of some keys.

    Args:
        cache: Where a proof is looked up, and written down.
        repo: Where the commit object is, if it must be had.
        commit: A full commit id.
        keys: OpenSSH public keys, such as `ssh-ed25519 AAAA…`.

    Returns:
        False for a commit that is not signed, or signed otherwise.

    Raises:
        SignaturesUnchecked: `ssh-keygen` is missing.
        CacheError: The commit could not be had.
        ValueError: A text is no key.
    """
    if strangers := [k for k in keys if not k.isprintable() or len(k.split(" ")) != 2]:
        raise ValueError(f"{strangers[0]!r} is no OpenSSH public key without comment")
    proofs = {key: proof_of(key, commit) for key in keys}
    good = False

    def known(_: str = "") -> bool:
        return any(is_noted(cache, line) for line in proofs.values())

    def check(_: Sequence[str]) -> None:
        nonlocal good
        found = _commit(repo, commit)
        key = next((key for key in keys if _is_good(found, key)), None)
        if key is not None:
            note(cache, proofs[key])
            good = True

    if not known():
        from codevault_cache.election import once

        once(cache.roots[0], [place_of(b"".join(proofs.values()))], known, check)
    return good or known()


def proof_of(key: str, commit: str) -> bytes:
    """What is noted when a key has signed a commit."""
    return f"codevault-signed-1\n{key}\n{commit}\n".encode()


def _is_good(commit: Commit, key: str) -> bool:
    from dulwich.errors import ObjectFormatException
    from dulwich.signature import BadSignature, SSHCliSignatureVendor

    try:
        payload, signature, kind = commit.extract_signature()
    except ObjectFormatException:
        return False
    if kind != b"ssh" or not signature:
        return False
    if shutil.which("ssh-keygen") is None:
        raise SignaturesUnchecked(
            "The commit's signature could not be checked.",
            "ssh-keygen is not on the PATH.",
            "install OpenSSH (openssh-client)",
        )
    with tempfile.TemporaryDirectory(prefix="codevault-signers-") as folder:
        signers = os.path.join(folder, "allowed_signers")
        with open(signers, "w", encoding="ascii") as file:
            # The name is the one that the vendor asks for; the key alone decides.
            file.write(f'git namespaces="git" {key}\n')
        try:
            SSHCliSignatureVendor(allowed_signers_file=signers).verify(payload, signature)
        except BadSignature:
            return False
    return True


def _commit(repo: str, commit: str) -> Commit:
    """The commit object, hashed as it is read."""
    address = address_of(repo)
    if address.kind != "local":
        from codevault_cache.gitconfig import moved

        address = moved(repo)
    found = (
        _locally(address.path, commit) if address.kind == "local" else _remotely(address, commit)
    )
    if found is None:
        raise CommitNotFound(
            f"{address.public} has no commit {commit}.",
            "",
            f"git ls-remote {shlex.quote(address.public)}",
        )
    return found


def _locally(path: str, commit: str) -> Commit | None:
    from dulwich.repo import Repo

    with Repo(path) as repo:
        return _in(repo.object_store, commit)


def _remotely(address: Address, commit: str) -> Commit | None:
    from codevault_cache.systemgit import SystemGit
    from codevault_cache.wire import wire

    if environ.offline():
        raise Offline(
            f"Whether commit {commit[:12]} of {address.public} is signed is not known here yet.",
            "CODEVAULT_OFFLINE forbids asking.",
            f"codevault trust add {shlex.quote(address.public)}@{commit}",
        )
    with wire(address) as server:
        try:
            return _fetched(server, commit)
        except CredentialsMissing:
            if shutil.which("git") is None:
                raise
            return _fetched(SystemGit(address), commit)


def _fetched(server: Wire | SystemGit, commit: str) -> Commit | None:
    from codevault_cache.atomicwrite import unfinished
    from codevault_cache.objectstores import add_pack, depot

    with tempfile.TemporaryDirectory(prefix="codevault-signed-") as folder:
        objects = os.path.join(folder, "objects")
        with depot(objects, commit) as store:
            with unfinished(folder) as (fd, path), os.fdopen(fd, "wb", closefd=False) as file:
                server.fetch(file, [commit], depth=1, filter_spec="tree:0")
                add_pack(objects, fd, path, folder, sha256=len(commit) == 64)
            return _in(store, commit)


def _in(store: object, commit: str) -> Commit | None:
    from dulwich.object_store import BaseObjectStore
    from dulwich.objects import Commit, ObjectID

    assert isinstance(store, BaseObjectStore)
    try:
        found = store[ObjectID(commit.encode())]
    except KeyError:
        return None
    return found if isinstance(found, Commit) else None
