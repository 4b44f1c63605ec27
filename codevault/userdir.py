"""What codevault keeps for this user beside the cache: mount records, marks of saved work.

These files widen what may run, so a folder that somebody else could write is not used at all.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile


def state_folder(kind: str) -> str | None:
    """A folder of this user's own state, made on demand with mode 0700; None if there can be none.

    Args:
        kind: `mounts`, `saved`, `verified`, `loads`, or `config` where there is no home.
    """
    for top in (_usual("state"), os.path.join(tempfile.gettempdir(), f"codevault-{os.getuid()}")):
        if not os.path.isabs(top):
            continue
        folder = os.path.join(top, kind)
        with contextlib.suppress(OSError):
            if _is_ours(folder) and _is_ours(top):
                return folder
        try:
            os.makedirs(top, mode=0o700, exist_ok=True)
            os.makedirs(folder, mode=0o700, exist_ok=True)
            if _is_ours(top) and _is_ours(folder):
                return folder
        except OSError:
            continue
    return None


def read(kind: str, name: str) -> bytes | None:
    """The bytes of one state file, if it is this user's own; None if there is no such file."""
    folder = state_folder(kind)
    if folder is None:
        return None
    try:
        descriptor = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        info = os.fstat(descriptor)
        if not only_ours(info) or not stat.S_ISREG(info.st_mode):
            return None
        data = b""
        while piece := os.read(descriptor, 1 << 16):
            data += piece
        return data
    finally:
        os.close(descriptor)


def write(kind: str, name: str, data: bytes) -> bool:
    """Writes one state file whole or not at all; False where this user has no place for it."""
    folder = state_folder(kind)
    if folder is None:
        return False
    try:
        replace(os.path.join(folder, name), data)
    except OSError:
        return False
    return True


def replace(path: str, data: bytes) -> None:
    """Puts a file of mode 0600 in place of whatever was at `path`, in one step.

    Raises:
        OSError: It could not be written; what was there stays.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}-{secrets.token_hex(6)}")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def only_ours(info: os.stat_result) -> bool:
    """Whether nobody but this user and root can write a file or folder of that status."""
    return info.st_uid in (os.getuid(), 0) and not info.st_mode & 0o022


def grants_file() -> str:
    """The file of this user's grants, one a line; it need not exist."""
    top = _usual("config")
    if not os.path.isabs(top):
        top = state_folder("config") or os.devnull
    return os.path.join(top, "trust")


def _usual(kind: str) -> str:
    """The platform's place for this user's state or configuration; "~" where there is no home."""
    import platformdirs

    find = {"state": platformdirs.user_state_dir, "config": platformdirs.user_config_dir}[kind]
    try:
        return find("codevault", appauthor=False)
    except RuntimeError:
        return "~"


def _is_ours(folder: str) -> bool:
    info = os.lstat(folder)
    return stat.S_ISDIR(info.st_mode) and only_ours(info)
