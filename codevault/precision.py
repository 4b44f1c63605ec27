"""Full precision of float32: no TF32 and no bfloat16 in its place, for the length of a run."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

from codevault_importhook.processlock import changing

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Has float32 computed in float32; what the application had chosen is put back on leaving.

    On recent GPUs cuDNN rounds float32 to 10 bits unless told otherwise, and so does what
    `torch.set_float32_matmul_precision("high")` allows: a difference of 1e-3 between devices. The
    choice is the whole process's: runs in several threads wait for each other.
    """
    with changing():
        yield from _full_precision()


def _full_precision() -> Iterator[None]:
    backends: Any = torch.backends
    if not hasattr(backends.cuda.matmul, "fp32_precision"):  # before torch 2.9
        allowed, precision = backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
        backends.cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            backends.cudnn.allow_tf32 = allowed
            torch.set_float32_matmul_precision(precision)
        return
    places = [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn]
    places += [backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn]
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "ieee"
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
