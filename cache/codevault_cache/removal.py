"""How entries leave the cache: out of sight in one step, then file by file, following no link."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from functools import cache

HOUR = 3600.0
DAY = 24 * HOUR


@cache
def _host() -> str:
    return hashlib.sha256(os.uname().nodename.encode()).hexdigest()[:8]


def tmp_name(tmp: str) -> str:
    """A new path in the tmp folder that tells which process of which machine made it."""
    return os.path.join(tmp, f"{os.getpid()}-{_host()}-{os.urandom(8).hex()}")


def discard(path: str, tmp: str) -> bool:
    """Take an entry out of the cache: nobody sees a part of it.

    Args:
        path: A file, a folder of read-only files, or a link, which is not followed.
        tmp: The tmp folder, on the same file system: what a crash leaves is swept from there.

    Returns:
        Whether it is gone.
    """
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            return True
        os.makedirs(tmp, exist_ok=True)
        # Only a folder that its owner may write can be moved.
        os.chmod(path, 0o700)
        aside = tmp_name(tmp)
        os.rename(path, aside)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    remove_folder(aside)
    return True


def remove_folder(top: str) -> None:
    """Remove a folder of read-only files, as far as that is possible, following no link."""
    try:
        if not stat.S_ISDIR(os.lstat(top).st_mode):
            os.unlink(top)
            return
        os.chmod(top, 0o700)
        entries = list(os.scandir(top))
    except OSError:
        return
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
        aside = os.path.join(quarantine, f"{os.path.basename(path)}.{os.urandom(4).hex()}")
        os.rename(path, aside)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    with contextlib.suppress(OSError):  # its time says from now on since when it lies there
        os.utime(aside, follow_symlinks=False)
    return True


def sweep(tmp: str) -> None:
    """Remove what writers that died have left in the tmp folder.

    An entry goes when it is an hour old and its process is gone from this machine, or when it is a
    day old.
    """
    now = time.time()
    with contextlib.suppress(OSError), os.scandir(tmp) as found:
        for entry in found:
            with contextlib.suppress(OSError):
                age = now - entry.stat(follow_symlinks=False).st_mtime
                if age < HOUR or (age < DAY and may_run(entry.name)):
                    continue
                remove_folder(entry.path)


def may_run(name: str) -> bool:
    """Tell whether the process that made a tmp name may still run; a foreign machine's may."""
    pid, _, rest = name.partition("-")
    if not rest.startswith(_host()):
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):
        pass
    return True
