"""Code packs: bytes that this user's Python derived from a snapshot, kept for the next load.

They are unmarshalled, so they are never downloaded and never shared: a pack counts only if this
user owns it, nobody else can write it, and it hashes to what was written, under the digest and tag
that it was written for.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from typing import TYPE_CHECKING

from codevault_cache import paths

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_CHECK = hashlib.sha256().digest_size
_log = logging.getLogger("codevault_cache")


def check_tag(tag: str) -> str:
    """Pass a tag through that may be a folder name.

    Raises:
        ValueError: It may not.
    """
    if not _TAG.fullmatch(tag):
        raise ValueError(f"a tag matches [a-z0-9._-]+, and {tag!r} does not")
    return tag


def _check(digest: str, tag: str, payload: bytes) -> bytes:
    # The digest and the tag are part of it: one's own pack of other code must not pass under this
    # name.
    total = hashlib.sha256(f"{digest} {tag}\n".encode())
    total.update(payload)
    return total.digest()


def read_derived(path: str, digest: str, tag: str) -> bytes | None:
    """Read a code pack.

    Args:
        path: Its file.
        digest: The snapshot it was derived from.
        tag: The Python it was derived by.

    Returns:
        The payload, or None for a pack that is missing or does not count.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o022:
            return None
        if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
            return None
        # apart, because cutting the payload out of both would copy it
        check = _read(fd, _CHECK)
        payload = _read(fd, status.st_size - _CHECK)
    except OSError:
        return None
    finally:
        os.close(fd)
    return payload if check == _check(digest, tag, payload) else None


def _read(fd: int, count: int) -> bytes:
    pieces = []
    while count > 0 and (piece := os.read(fd, count)):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def kept(roots: Sequence[str], digest: str, tag: str) -> bytes | None:
    """The code pack of a snapshot from the first folder that has one that counts; None without."""
    check_tag(tag)
    packs = (read_derived(paths.code(root, tag, digest), digest, tag) for root in roots)
    return next((payload for payload in packs if payload is not None), None)


def derived(roots: Sequence[str], digest: str, tag: str, make: Callable[[], bytes]) -> bytes:
    """Get a code pack, deriving it where there is none that counts.

    Args:
        roots: The cache's folders.
        digest: The snapshot's digest.
        tag: The kind of Python, as one folder name.
        make: Derives the payload.

    Returns:
        The payload.
    """
    payload = kept(roots, digest, tag)
    if payload is not None:
        return payload
    payload = make()
    store(roots[0], digest, tag, payload)
    return payload


def store(root: str, digest: str, tag: str, payload: bytes) -> None:
    """Keep a code pack, in place of another one of that digest and tag.

    Args:
        root: The cache's first folder.
        digest: The snapshot's digest.
        tag: The kind of Python, as one folder name.
        payload: The pack.
    """
    try:
        _keep(root, digest, check_tag(tag), payload)
    except OSError as error:
        # The load goes on: the cache only saves time.
        _log.info("cannot keep a code pack: %s", error)


def newest(root: str, tag: str) -> bytes | None:
    """The code pack of a tag that was derived last, from whatever snapshot, or None.

    Args:
        root: The cache's first folder.
        tag: The kind of Python.
    """
    top = os.path.dirname(os.path.dirname(paths.code(root, check_tag(tag), "00")))
    found = []
    try:
        for short in os.listdir(top):
            for name in os.listdir(os.path.join(top, short)):
                path = os.path.join(top, short, name)
                found.append((os.stat(path).st_mtime, path, name.removesuffix(".cvc")))
    except OSError:
        pass
    return read_derived(max(found)[1], max(found)[2], tag) if found else None


def _keep(root: str, digest: str, tag: str, payload: bytes) -> None:
    from codevault_cache.atomicwrite import publish_file

    paths.prepare(root)
    top = os.path.join(root, paths.VERSION, "code")
    os.makedirs(top, 0o700, exist_ok=True)
    status = os.lstat(top)
    if hasattr(os, "geteuid") and (
        status.st_uid != os.geteuid() or not stat.S_ISDIR(status.st_mode)
    ):
        raise PermissionError(f"{top} belongs to somebody else")
    if status.st_mode & 0o077:
        os.chmod(top, 0o700)
    publish_file(
        paths.code(root, tag, digest),
        paths.tmp(root),
        (_check(digest, tag, payload), payload),
        mode=0o400,
        intact=lambda path: read_derived(path, digest, tag) == payload,
    )
