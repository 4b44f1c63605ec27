"""The one lock around what codevault itself changes in the whole process for a moment.

A second change inside the first, from another thread, would put back what the first had set, for
good; and an audit that looked meanwhile would take it for the old code's.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock: Final = threading.RLock()
_SECONDS: Final = 30


@contextlib.contextmanager
def changing() -> Iterator[None]:
    """Held while something of the whole process is changed and put back."""
    with _lock:
        yield


@contextlib.contextmanager
def unchanged() -> Iterator[None]:
    """Held while the state of the process is read; a change that takes long is not waited for."""
    held = _lock.acquire(timeout=_SECONDS)
    try:
        yield
    finally:
        if held:
            _lock.release()
