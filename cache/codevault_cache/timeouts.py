"""A limit to how long a library is waited for that has no deadline of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def within(seconds: float, work: Callable[[], T]) -> T:
    """Do something, and stop waiting for it after a while.

    Args:
        seconds: How long it is waited for.
        work: What to do. If it takes longer it goes on in a thread that ends with the process.

    Returns:
        What it gives.

    Raises:
        TimeoutError: It takes longer. Whatever it raises itself is raised as well.
    """
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    return done[0]
