"""dulwich's clients, each taught what it lacks: an ear for errors, and an end to patience."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Any, cast

from dulwich.client import SSHGitClient, SubprocessSSHVendor, TCPGitClient

from codevault_cache.limits import ANSWER_BYTES, SILENCE_SECONDS, refuse_above

if TYPE_CHECKING:
    from collections.abc import Callable

# dulwich warns of servers without filters: they are expected here, and say nothing to a user.
logging.getLogger("dulwich").addHandler(logging.NullHandler())

_ERR = re.compile(rb"ERR ([^\x00\n]{1,500})")


class Ear:
    """Remembers the last bytes that a server sent.

    dulwich 1.2.21 turns the error packet of a protocol-2 fetch into a bare hang-up; the server's
    words are here.
    """

    def __init__(self, deadline: float) -> None:
        self.last = b""
        self.heard = 0
        self.deadline = deadline
        self.opened: list[Any] = []

    def connected(self, connection: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        """Listen to a connection, and remember to end it: dulwich forgets those that fail early."""
        self.opened.append(connection[0])
        connection[0].read = self.on(connection[0].read)
        return connection

    def on(self, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
        """The same reader, listened to."""

        def heard(size: int) -> bytes:
            if time.monotonic() > self.deadline:
                raise TimeoutError("the deadline of the fetch has passed")
            data = read(size)
            self.heard += len(data)
            refuse_above(ANSWER_BYTES, self.heard, "bytes from the server beside the pack")
            # Only the start of a big answer can be an error packet.
            self.last = (self.last + data[:2000])[-2000:]
            return data

        return heard

    @property
    def words(self) -> str:
        """What the server said went wrong, or nothing."""
        match = _ERR.search(self.last)
        return match[1].decode("utf-8", "replace").strip() if match else ""


class TcpClient(TCPGitClient):
    """git://, with a limit to silence."""

    ear: Ear
    silence = SILENCE_SECONDS

    def _connect(self, *args: Any, **kwargs: Any) -> Any:
        connection = super()._connect(*args, **kwargs)
        # dulwich takes no timeout here: a server that says nothing would be waited for for ever.
        cast("Any", connection[0].read).__self__.raw._sock.settimeout(self.silence)  # noqa: SLF001
        return self.ear.connected(connection)


class Vendor(SubprocessSSHVendor):
    """ssh that can be stopped when the deadline passes."""

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self.deadline = deadline
        self.running: list[tuple[Any, Any]] = []

    def run_command(self, *args: Any, **kwargs: Any) -> Any:
        """Start ssh, and the clock that ends it."""
        import threading

        wrapper = super().run_command(*args, **kwargs)
        timer = threading.Timer(max(0.0, self.deadline - time.monotonic()), wrapper.proc.kill)
        timer.daemon = True
        timer.start()
        self.running.append((timer, wrapper.proc))
        return wrapper


class SshClient(SSHGitClient):
    """ssh, by the user's own ssh program."""

    ear: Ear

    def _connect(self, *args: Any, **kwargs: Any) -> Any:
        return self.ear.connected(super()._connect(*args, **kwargs))
