"""How folders of read-only files become visible in the cache: complete, or not at all.

A file that an earlier folder has equal is a hard link to it: a further version of a tree costs what
changed, and its folders.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from codevault_cache import atomicwrite
from codevault_cache.atomicwrite import NEW, sync, sync_folder, write_all
from codevault_cache.removal import remove_folder, tmp_name
from codevault_cache.treepaths import NATIVE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

READ_ONLY = 0o555
"""Folders and programs of a laid-out tree: for everybody to read, for nobody to write."""

MANY = 100
"""From this many files on, their file system is synced once: that takes a third of the time."""


def sync_file_system(path: str) -> bool:
    """Wait until the disk has everything of a file system; False where that cannot be asked for."""
    import ctypes

    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError, TypeError):
        return False
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if syncfs(fd):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(fd)
    return True


def publish_folder(
    final: str,
    tmp: str,
    files: Mapping[str, tuple[int, bytes]],
    earlier: Sequence[str] = (),
) -> None:
    """Publish a folder of read-only files, complete or not at all.

    Args:
        final: Its name in the cache.
        tmp: The tmp folder, on the same file system.
        files: Relative path to git mode and content; paths are checked by the caller.
        earlier: Published folders; a file that one of them has equal is linked, not written, unless
            it is a compiled library.
    """
    os.makedirs(tmp, exist_ok=True)
    os.makedirs(os.path.dirname(final), exist_ok=True)
    top = tmp_name(tmp)
    os.mkdir(top, 0o700)
    try:
        folders = {top}
        many = atomicwrite.durable and len(files) >= MANY
        for path, (mode, content) in files.items():
            target = os.path.join(top, *path.split("/"))
            folder = os.path.dirname(target)
            if folder not in folders:
                os.makedirs(folder, 0o700, exist_ok=True)
                while folder not in folders:
                    folders.add(folder)
                    folder = os.path.dirname(folder)
            mode = READ_ONLY if mode & 0o111 else 0o444
            # No links: the system loads a file once, and versions would share its static state.
            same = () if path.endswith(NATIVE) else earlier
            if any(_linked(os.path.join(old, path), target, mode, content) for old in same):
                continue
            fd = os.open(target, NEW, 0o600)
            try:
                write_all(fd, (content,))
                os.fchmod(fd, mode)
                if not many:
                    sync(fd)
            finally:
                os.close(fd)
        # A folder that is moved must be writable by its owner, so the top is closed last.
        for folder in sorted(folders - {top}, key=len, reverse=True):
            if not many:
                sync_folder(folder)
            os.chmod(folder, READ_ONLY)
        if many and not sync_file_system(top):
            _sync_each(top, files, folders)
        sync_folder(top)
        fd = os.open(top, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.rename(top, final)
            # By its descriptor: it may have been moved on already.
            os.fchmod(fd, READ_ONLY)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return
        finally:
            os.close(fd)
        sync_folder(os.path.dirname(final))
    finally:
        remove_folder(top)


def _linked(old: str, target: str, mode: int, content: bytes) -> bool:
    """Make `target` a link to an old file that is what it shall be; False where that is not so."""
    try:
        fd = os.open(old, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
        try:
            status = os.fstat(fd)
            if (
                not stat.S_ISREG(status.st_mode)
                or stat.S_IMODE(status.st_mode) != mode
                or status.st_uid != os.geteuid()
                or status.st_size != len(content)
                or _content(fd) != content
            ):
                return False
        finally:
            os.close(fd)
        os.link(old, target, follow_symlinks=False)
        # What was compared is what was linked.
        now = os.lstat(target)
        if (now.st_dev, now.st_ino) != (status.st_dev, status.st_ino):
            os.unlink(target)
            return False
    except OSError:  # not there, or one link more than there can be: the file is written
        return False
    return True


def _content(fd: int) -> bytes:
    pieces = []
    while piece := os.read(fd, 1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def _sync_each(top: str, files: Iterable[str], folders: Iterable[str]) -> None:
    for path in files:
        fd = os.open(os.path.join(top, *path.split("/")), os.O_RDONLY | os.O_CLOEXEC)
        try:
            sync(fd)
        finally:
            os.close(fd)
    for folder in sorted(folders, key=len, reverse=True):
        sync_folder(folder)
