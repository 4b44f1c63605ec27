"""How bytes become visible in the cache: complete, once, under a name never open for writing.

unique tmp -> write -> fsync -> chmod 0444 -> link (EEXIST: verify what is there) -> unlink tmp ->
fsync of the folder. No correctness hangs on a lock.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from codevault_cache.errors import CacheError, Unwritable
from codevault_cache.removal import tmp_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)

durable = True
"""Whether publishing waits for the disk. Off, a power cut can lose entries; readers notice."""


def write_all(fd: int, pieces: Iterable[bytes | memoryview]) -> None:
    """Write pieces completely: one `write` may take less than it was given."""
    for piece in pieces:
        view = memoryview(piece)
        while view:
            view = view[os.write(fd, view) :]


def sync(fd: int) -> None:
    """Wait until the disk has it, unless that was switched off."""
    if durable:
        os.fsync(fd)


def sync_folder(path: str) -> None:
    """Make a new name in a folder survive a power cut."""
    if durable:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:
            # Some network file systems cannot; the entry is complete either way.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
                raise
        finally:
            os.close(fd)


@contextlib.contextmanager
def written(root: str) -> Iterator[None]:
    """Say which folder of the cache does not take what is written inside, and what helps.

    Raises:
        Unwritable: In place of any OSError.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, CacheError):
            raise
        hint = "CODEVAULT_CACHE=/a/folder/of/yours"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "codevault cache gc --max-size 1GB"
        why = f"{root}: {error.strerror or error}"
        if error.errno == errno.EILSEQ:  # macOS, of names that are no UTF-8
            why += f": {os.path.basename(os.fsdecode(error.filename or ''))!a}"
            hint = "CODEVAULT_CACHE=/a/folder/of/another file system"
        raise Unwritable("The cache cannot keep what was fetched.", why, hint) from error


@contextlib.contextmanager
def unfinished(tmp: str) -> Iterator[tuple[int, str]]:
    """A new file in the tmp folder, open for reading and writing; its name is gone afterwards."""
    os.makedirs(tmp, exist_ok=True)
    path = tmp_name(tmp)
    fd = os.open(path, NEW, 0o600)
    try:
        yield fd, path
    finally:
        os.close(fd)
        with contextlib.suppress(OSError):
            os.unlink(path)


def publish_file(
    final: str,
    tmp: str,
    pieces: Iterable[bytes | memoryview],
    *,
    mode: int = 0o444,
    intact: Callable[[str], bool] | None = None,
    replace: bool = False,
) -> None:
    """Publish one file.

    Args:
        final: Its name in the cache.
        tmp: The tmp folder, on the same file system.
        pieces: Its content.
        mode: Its permissions.
        intact: Tells whether an entry of that name that is already there is good; a bad one is
            replaced.
        replace: Put the new one in place of an old one in any case.
    """
    with unfinished(tmp) as (fd, path):
        write_all(fd, pieces)
        publish_written(fd, path, final, mode=mode, intact=intact, replace=replace)


def publish_written(
    fd: int,
    path: str,
    final: str,
    *,
    mode: int = 0o444,
    intact: Callable[[str], bool] | None = None,
    replace: bool = False,
) -> None:
    """Publish a file that is written already.

    Args:
        fd: The file.
        path: Its name in the tmp folder.
        final: As for `publish_file`.
        mode: As for `publish_file`.
        intact: As for `publish_file`.
        replace: As for `publish_file`.
    """
    os.makedirs(os.path.dirname(final), exist_ok=True)
    os.fchmod(fd, mode)
    sync(fd)
    if replace:
        os.replace(path, final)
    else:
        try:
            os.link(path, final, follow_symlinks=False)
        except FileExistsError:
            if intact is None or intact(final):
                return
            os.replace(path, final)
        except OSError as error:
            # No hard links here: rename says the same, but replaces an equal entry.
            if error.errno not in (
                errno.EPERM,
                errno.ENOTSUP,
                errno.EOPNOTSUPP,
                errno.EMLINK,
                errno.ENOSYS,
            ):
                raise
            os.rename(path, final)
    sync_folder(os.path.dirname(final))
