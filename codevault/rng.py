"""Keeps the application's random number generators as they were."""

from __future__ import annotations

import contextlib
import random
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def kept_rng() -> Iterator[None]:
    """Restores Python's, numpy's and torch's (CPU and CUDA) generators on leaving."""
    put_back = taken()
    try:
        yield
    finally:
        put_back()


def taken() -> Callable[[], None]:
    """What puts all generators back as they are now.

    CUDA is looked at only where it is in use: asking would start it on every device, and processes
    that are forked afterwards could not use it. Before that, the seeds that wait for it are kept.
    """
    import torch

    python, generator = random.getstate(), torch.get_rng_state()
    numpy = sys.modules.get("numpy")
    state = numpy.random.get_state() if numpy is not None else None
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    waiting = dict(vars(torch.cuda._lazy_seed_tracker))  # noqa: SLF001

    def put_back() -> None:
        random.setstate(python)
        torch.set_rng_state(generator)
        if numpy is not None:
            numpy.random.set_state(state)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        elif torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            for seed, _ in filter(None, waiting["call_order"]):  # started meanwhile
                seed()
        else:
            vars(torch.cuda._lazy_seed_tracker).update(waiting)  # noqa: SLF001

    return put_back


def own_state(value: Any) -> Any:
    """The state of a generator object of Python, numpy or torch as plain data; None for others."""
    import torch

    numpy = sys.modules.get("numpy")
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, random.Random) and not isinstance(value, random.SystemRandom):
        return value.getstate()
    if numpy is not None and isinstance(value, numpy.random.Generator):
        return value.bit_generator.state
    return None


def set_own_state(generator: Any, state: Any) -> None:
    """Puts a generator object into the state that `own_state` gave.

    Raises:
        ValueError: It is a generator of another kind; so do TypeError and RuntimeError say.
    """
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif hasattr(generator, "bit_generator"):
        generator.bit_generator.state = state
    else:
        generator.set_state(state)
