"""One thread that writes behind a training loop, and what goes wrong in it."""

from __future__ import annotations

import sys
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Behind:
    """Makes calls in one thread, one after the other.

    An error is raised by the next `wait`; one that nobody waited for is told on standard error when
    the process ends.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._pending: list[Future[None]] = []
        self._end = weakref.finalize(self, _tell, self._pending)

    def submit(self, call: Callable[..., None], *args: Any) -> None:
        """Makes a call when those before it are done."""
        if self._pool is None:  # the first call, or the first after `close`
            self._pool = ThreadPoolExecutor(1, "codevault-checkpoints")
        self._pending.append(self._pool.submit(call, *args))

    def wait(self) -> None:
        """Waits for all calls, and raises what went wrong."""
        while self._pending:
            self._pending.pop(0).result()

    def close(self) -> None:
        """Waits for all calls, and ends the thread."""
        try:
            self.wait()
        finally:
            if self._pool is not None:
                self._pool.shutdown()
            self._pool = None


def _tell(pending: list[Future[None]]) -> None:
    for future in pending:
        if (error := future.exception()) is not None:
            print(f"codevault: a checkpoint was not written: {error}", file=sys.stderr)
