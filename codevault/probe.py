"""The probe of a checkpoint: fixed observations, and what the policy gave for them when saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from codevault import coverage
from codevault.comparison import TOLERANCES, Comparison, Replay
from codevault.errors import CaptureError, ProbeError
from codevault.probecopy import device_of
from codevault.proberun import EMPTY, Trial, run
from codevault.tensortree import Nest, is_tensordict, others, pack, same

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Probe", "Replay", "check", "record", "replay"]

SEED: Final = 20_240_229
"""Seed of all random numbers of a run; recorded in the probe."""
_NOISE: Final = (0.25, -0.25, 1.0, -1.0)
"""Where only integers differ, numbers are changed by these parts of their tolerance, one by one: a
choice between two that are that close is no difference, and rounding decides it elsewhere."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Fixed observations and what the policy gave for them.

    Attributes:
        inputs: The observations of each step. A tuple is the policy's positional arguments;
            anything else is its one argument.
        outputs: What it returned at each step; of an argument that it returned, only what it wrote.
        state: Attributes that the run changes and that no state_dict holds, such as recurrent
            state, as they were before the run; a replay starts from them.
        seed: Seed of all random numbers.
        device: Type of the policy's device.
        drawn: True if the run drew random numbers.
        sampled: Paths of outputs that depend on them.
        tolerances: Absolute and relative tolerance by dtype.
        torch: Version of torch that recorded.
        untouched: Parameters that no operation of the run touched; None where that is not known.
            Not part of the file: the manifest has it.
    """

    inputs: tuple[Nest, ...]
    outputs: tuple[Nest, ...]
    state: Nest
    seed: int
    device: str
    drawn: bool
    sampled: tuple[str, ...]
    tolerances: Mapping[str, tuple[float, float]]
    torch: str
    untouched: tuple[str, ...] | None = None


def record(policy: Any, observations: Any) -> Probe:
    """Runs the policy on observations and records what it gives; the policy stays as it was.

    The run is seeded, in eval mode, without gradients, and on a copy (`probecopy`).

    Args:
        policy: A module or any other callable.
        observations: A tensor, a TensorDict, or a dict: the one argument. A tuple: the positional
            arguments. Numbers, strings, None, arrays, lists and dicts may be nested in it. A list:
            one of these for each step, played in order with the policy's memory carried on; what a
            later step leaves out is taken from what the policy returned (`memory.filled`). Or a
            function without parameters that returns one of these.

    Raises:
        CaptureError: The observations have parts that cannot be recorded, the policy raised, or it
            returned no tensor, so that no replay could ever fail.
    """
    if callable(observations) and not is_tensordict(observations):
        observations = observations()
    inputs = _steps(observations)
    if strangers := [text for nest in inputs for text in others(nest.structure)]:
        raise CaptureError(
            "the probe's observations cannot be recorded",
            f"no tensors, numbers, strings or collections of them: {', '.join(strangers[:10])}",
            "pass tensors, or save_policy(..., probe=None) to save without a probe",
        )
    device = device_of(policy)
    try:
        first = run(policy, inputs, SEED, device.type, device, EMPTY)
        second = first
        if first.drawn:
            second = run(policy, inputs, SEED + 1, device.type, device, EMPTY, first.outputs)
    except Exception as error:
        raise CaptureError(
            f"the policy raised {type(error).__name__} on the probe's observations",
            str(error),
            "pass observations that the policy takes, as codevault.save_policy(..., probe=obs)",
        ) from error
    given, other = _tensors(first.outputs), _tensors(second.outputs)
    if not any(tensor.numel() for tensor in given.values()):
        root = first.outputs[0].structure
        parts = ", ".join(others(root)) or root["kind"]
        raise CaptureError(
            "the probe could never fail: the policy returned no tensor for its observations",
            f"it returned {parts}",
            "pass another observation, or save_policy(..., probe=None) to save without a probe",
        )
    sampled = [p for p, t in given.items() if p not in other or not same(t, other[p])]
    return Probe(
        inputs=inputs,
        outputs=first.outputs,
        state=first.state,
        seed=SEED,
        device=device.type,
        drawn=first.drawn,
        sampled=tuple(sampled),
        tolerances=TOLERANCES,
        torch=str(torch.__version__),
        untouched=coverage.untouched(policy, inputs, SEED, device),
    )


def _steps(observations: Any) -> tuple[Nest, ...]:
    steps = observations if type(observations) is list else [observations]
    if len(steps) == 1:
        return (pack(steps[0], "in"),)
    if not steps:
        raise CaptureError(
            "the probe has no observations", "an empty list", "probe=[obs, next_obs], or probe=None"
        )
    return tuple(pack(value, f"in.{step}") for step, value in enumerate(steps))


def _tensors(nests: tuple[Nest, ...]) -> dict[str, torch.Tensor]:
    return {path: tensor for nest in nests for path, tensor in nest.tensors.items()}


def replay(policy: Any, probe: Probe) -> Replay:
    """Runs the policy on a probe's observations and compares; the policy stays as it was.

    Integers must be equal, unless each that differs is a near tie: where numbers change by less
    than their tolerance, the policy gives what was recorded.

    What the policy raises is passed on.
    """
    device = device_of(policy)
    runs = (policy, probe.inputs, probe.seed, probe.device, device, probe.state, probe.outputs)
    trial = run(*runs)
    comparison = _compared(probe, trial, device)
    for part in _NOISE:
        if not comparison.tied:
            break
        noise = {dtype: relative * part for dtype, (_, relative) in probe.tolerances.items()}
        comparison.forgive(_compared(probe, run(*runs, noise=noise), device))
    return comparison.result(tuple(probe.state.structure["keys"]))


def _compared(probe: Probe, trial: Trial, device: torch.device) -> Comparison:
    comparison = Comparison(
        probe.tolerances,
        sampled=frozenset(probe.sampled),
        portable=device.type == probe.device,
        drawn=probe.drawn,
        skipped=list(trial.unset),
    )
    for expected, actual in zip(probe.outputs, trial.outputs, strict=True):
        comparison.run(expected, actual)
    return comparison


def check(policy: Any, probe: Probe, where: str) -> Replay:
    """Replays a probe and raises if the policy does not give the recorded outputs.

    Args:
        policy: The loaded policy.
        probe: What was recorded.
        where: The checkpoint, for messages.

    Raises:
        ProbeError: The outputs differ, or the policy raised.
    """
    hint = f"codevault.load_policy({where!r}, probe=False) loads it without this check"
    try:
        found = replay(policy, probe)
    except Exception as error:
        raise ProbeError(
            f"the policy of {where} raised {type(error).__name__} on its recorded observations",
            str(error),
            hint,
        ) from error
    if not found.ok:
        why = f"outputs differ: {found}" if found.compared or found.faults else "nothing to compare"
        why += f"; recorded with torch {probe.torch} on {probe.device}"
        raise ProbeError(f"the policy of {where} does not behave as it was saved", why, hint)
    return found
