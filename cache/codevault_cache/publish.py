"""How bytes become visible in the cache: complete, once, under a name never open for writing.

unique tmp -> write -> fsync -> chmod 0444 -> link (EEXIST: verify what is there) -> unlink tmp ->
fsync of the folder.
No correctness hangs on a lock.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)

READ_ONLY = 0o555
"""Folders and programs of a laid-out tree: for everybody to read, for nobody to write."""

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


def tmp_name(tmp: str) -> str:
    """A new path in the tmp folder that tells which process made it."""
    return os.path.join(tmp, f"{os.getpid()}-{os.urandom(8).hex()}")


@contextlib.contextmanager
def _removed(path: str) -> Iterator[None]:
    try:
        yield
    finally:
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
    for folder in (tmp, os.path.dirname(final)):
        os.makedirs(folder, exist_ok=True)
    path = tmp_name(tmp)
    fd = os.open(path, _NEW, 0o600)
    with _removed(path):
        try:
            write_all(fd, pieces)
            os.fchmod(fd, mode)
            sync(fd)
        finally:
            os.close(fd)
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


def publish_folder(final: str, tmp: str, files: Mapping[str, tuple[int, bytes]]) -> None:
    """Publish a folder of read-only files, complete or not at all.

    Args:
        final: Its name in the cache.
        tmp: The tmp folder, on the same file system.
        files: Relative path to git mode and content; paths are checked by the caller.
    """
    os.makedirs(tmp, exist_ok=True)
    os.makedirs(os.path.dirname(final), exist_ok=True)
    top = tmp_name(tmp)
    os.mkdir(top, 0o700)
    try:
        folders = {top}
        for path, (mode, content) in files.items():
            target = os.path.join(top, *path.split("/"))
            folder = os.path.dirname(target)
            if folder not in folders:
                os.makedirs(folder, 0o700, exist_ok=True)
                while folder not in folders:
                    folders.add(folder)
                    folder = os.path.dirname(folder)
            fd = os.open(target, _NEW, 0o600)
            try:
                write_all(fd, (content,))
                os.fchmod(fd, 0o555 if mode & 0o111 else 0o444)
                sync(fd)
            finally:
                os.close(fd)
        # A folder that is moved must be writable by its owner, so the top is closed last.
        for folder in sorted(folders - {top}, key=len, reverse=True):
            sync_folder(folder)
            os.chmod(folder, READ_ONLY)
        sync_folder(top)
        try:
            os.rename(top, final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return
        os.chmod(final, READ_ONLY)
        sync_folder(os.path.dirname(final))
    finally:
        remove_folder(top)


def remove_folder(top: str) -> None:
    """Remove a folder of read-only files, as far as that is possible, following no link."""
    try:
        entries = list(os.scandir(top))
    except OSError:
        return
    with contextlib.suppress(OSError):
        os.chmod(top, 0o700)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            remove_folder(entry.path)
        else:
            with contextlib.suppress(OSError):
                os.unlink(entry.path)
    with contextlib.suppress(OSError):
        os.rmdir(top)


def set_aside(path: str, quarantine: str) -> bool:
    """Move a damaged entry out of the way; only its own writer's root is ever touched.

    Args:
        path: The entry.
        quarantine: The folder that keeps it for a look.

    Returns:
        Whether the entry is gone from its place.
    """
    try:
        os.makedirs(quarantine, exist_ok=True)
        if stat.S_ISDIR(os.lstat(path).st_mode):
            os.chmod(path, 0o700)
        os.rename(path, os.path.join(quarantine, f"{os.path.basename(path)}.{os.urandom(4).hex()}"))
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def sweep(tmp: str, age: float = 3600.0) -> None:
    """Remove what writers that died have left: old entries whose process is gone from this machine.

    Args:
        tmp: The tmp folder.
        age: Seconds after which an entry counts as old; one that is a day old goes in any case.
    """
    import time

    with contextlib.suppress(OSError), os.scandir(tmp) as found:
        for entry in found:
            with contextlib.suppress(OSError):
                old = time.time() - entry.stat(follow_symlinks=False).st_mtime
                if old < age or (old < 24 * age and _runs(entry.name.split("-")[0])):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    remove_folder(entry.path)
                else:
                    os.unlink(entry.path)


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):
        pass
    return True
