"""What this process asked of others: requests and bytes, for summaries."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went over the network, of this process, so far.

    Attributes:
        requests: How often a server was asked: each HTTP request to a repository, each connection
            to one by ssh or git, each range or object read from a store.
        received: Bytes of the packs, members and objects that came.
        mirrored: Snapshots that came from a mirror.
    """

    requests: int = 0
    received: int = 0
    mirrored: int = 0

    def since(self, before: Traffic) -> Traffic:
        """What was added after `before`."""
        return Traffic(
            self.requests - before.requests,
            self.received - before.received,
            self.mirrored - before.mirrored,
        )


_lock = threading.Lock()
_now = Traffic()


def traffic() -> Traffic:
    """The counts as they are now."""
    return _now


def count(requests: int = 0, received: int = 0, mirrored: int = 0) -> None:
    """Adds to the counts; any thread may."""
    global _now
    with _lock:
        _now = Traffic(_now.requests + requests, _now.received + received, _now.mirrored + mirrored)
