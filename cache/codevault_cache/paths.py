"""The paths of a cache's entries, as functions from their keys.

Only `trees/` holds names that come from a repository; every other name is a digest or made of
digests.
"""

from __future__ import annotations

import hashlib
import os

VERSION = "v1"
"""In every path: an old codevault never looks into a newer layout."""

_TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# A cache of codevault.\n"


def tmp(root: str) -> str:
    """Half-written entries, on the same file system as the finished ones."""
    return os.path.join(root, VERSION, "tmp")


def claim(root: str, key: str) -> str:
    """The mark that a process is getting something; one that it left is swept with the rest."""
    return os.path.join(tmp(root), "claim-" + key)


def quarantine(root: str) -> str:
    """Damaged entries, set aside for a look."""
    return os.path.join(root, VERSION, "quarantine")


def pack(root: str, digest: str) -> str:
    """The source pack of a digest."""
    return os.path.join(root, VERSION, "src", digest[:2], digest + ".cvs")


def tree(root: str, digest: str) -> str:
    """The laid-out files of a digest."""
    return os.path.join(root, VERSION, "trees", digest)


def snapshot(root: str, name: str) -> str:
    """The record of a splint name."""
    return os.path.join(root, VERSION, "snapshots", name + ".json")


def request(root: str, key: str) -> str:
    """The answer to a request."""
    return os.path.join(root, VERSION, "requests", key + ".json")


def commit(root: str, name: str) -> str:
    """In a mirror: the commit and trees that lead to a snapshot's files."""
    return os.path.join(root, VERSION, "commits", name + ".pack")


def proofs(root: str) -> str:
    """The folder of proofs that repositories lead to commits."""
    return os.path.join(root, VERSION, "proofs")


def proof(root: str, key: str) -> str:
    """The proof that a repository leads to a commit."""
    return os.path.join(proofs(root), key)


def code(root: str, tag: str, digest: str) -> str:
    """The code pack that one kind of Python derived from a digest."""
    return os.path.join(root, VERSION, "code", tag, digest[:2], digest + ".cvc")


def objects(root: str, key: str) -> str:
    """The bare git objects of one repository."""
    return os.path.join(root, VERSION, "git", key + ".git", "objects")


def depots(root: str) -> str:
    """The folder of all bare git stores."""
    return os.path.join(root, VERSION, "git")


def depot_key(public: str) -> str:
    """The name of a repository's git store, from its address without user info."""
    return hashlib.sha256(public.encode()).hexdigest()[:16]


def pin(root: str, name: str, group: str = "") -> str:
    """The mark that a splint name is never collected: of its own, or as one of a group."""
    return os.path.join(root, VERSION, "pins", group, name)


def collected(root: str) -> str:
    """The mark of the last automatic collection."""
    return os.path.join(root, VERSION, "collected")


def downloads(root: str) -> str:
    """Copies of remote checkpoints."""
    return os.path.join(root, "checkpoints")


def prepare(root: str) -> None:
    """Mark a folder as a cache, for backup programs and for git."""
    tag = os.path.join(root, "CACHEDIR.TAG")
    if os.path.exists(tag):
        return
    from codevault_cache.atomicwrite import publish_file

    for path, content in ((os.path.join(root, ".gitignore"), b"*\n"), (tag, _TAG)):
        publish_file(path, tmp(root), (content,))
