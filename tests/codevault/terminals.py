"""A pseudo-terminal that is read all the while, as a person's is: what a program shows on it."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminal:
    """`writer` is the program's end; `text` is all that was shown, once `shown` is left."""

    def __init__(self, writer: TextIO) -> None:
        self.writer = writer
        self.text = ""


@contextlib.contextmanager
def shown() -> Iterator[Terminal]:
    """A terminal for the time of a block. One read gives at most what the kernel holds, 4 KiB."""
    leader, follower = os.openpty()
    pieces: list[bytes] = []

    def follow() -> None:
        with contextlib.suppress(OSError):  # EIO: every writer has closed its end
            while piece := os.read(leader, 1 << 16):
                pieces.append(piece)

    reader = threading.Thread(target=follow, daemon=True)
    try:
        with open(follower, "w", encoding="utf-8") as writer:
            terminal = Terminal(writer)
            reader.start()
            yield terminal
    finally:
        reader.join(timeout=60)
        os.close(leader)
    terminal.text = b"".join(pieces).decode()
