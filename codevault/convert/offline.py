"""Takes the network away from this process, for good."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any, Final

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_HARMLESS: Final = frozenset({"socket.__new__", "socket.gethostname"})


def cut() -> bool:
    """Leaves this process without a network.

    Linux gives it a network of its own without any interface, where that is permitted. Everywhere
    an audit hook refuses what Python's sockets would do; code that calls C by itself is not held by
    that.

    Returns:
        Whether the kernel did it.
    """
    done = _unshared()
    sys.addaudithook(_refuse)
    return done


def _refuse(event: str, _: Any) -> None:
    if event.startswith("socket.") and event not in _HARMLESS:
        raise PermissionError(f"{event}: this process may not use the network")


def _unshared() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        unshare = ctypes.CDLL(None, use_errno=True).unshare
    except (OSError, AttributeError):
        return False
    user, group = os.geteuid(), os.getegid()
    if unshare(_NEW_NETWORK) == 0:  # permitted to root
        return True
    if unshare(_NEW_USER | _NEW_NETWORK) != 0:
        return False
    # Without these the process would not be the owner of its own files.
    for path, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{path}", "w") as file:
            file.write(text)
    return True
