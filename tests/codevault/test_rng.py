"""The application's random number generators are as they were, whatever old code does to them."""

from __future__ import annotations

import random

import numpy as np
import torch

from codevault.rng import kept_rng


def test_generators_are_as_they_were() -> None:
    def draws() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(torch.rand(()))

    with kept_rng():
        expected = draws()
    with kept_rng():
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
    assert draws() == expected


def test_a_seed_that_waits_for_cuda_is_the_applications() -> None:
    """`torch.manual_seed` seeds CUDA when that is first used."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return
    tracker = torch.cuda._lazy_seed_tracker
    with kept_rng():
        torch.manual_seed(1)
        waiting = dict(vars(tracker))
        with kept_rng():
            torch.manual_seed(2)
            torch.cuda.manual_seed(3)
            assert vars(tracker) != waiting
        assert vars(tracker) == waiting
