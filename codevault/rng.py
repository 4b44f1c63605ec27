"""Keeps the application's random number generators as they were."""

from __future__ import annotations

import contextlib
import random
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def kept_rng() -> Iterator[None]:
    """Restores Python's, numpy's and torch's (CPU and CUDA) generators on leaving."""
    import torch

    python = random.getstate()
    numpy = sys.modules.get("numpy")
    state = numpy.random.get_state() if numpy is not None else None
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            if numpy is not None:
                numpy.random.set_state(state)
