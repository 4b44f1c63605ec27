"""The probe of a checkpoint: fixed observations, and what the policy gave for them when saved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from codevault import tensorfile
from codevault.comparison import TOLERANCES, Comparison, Replay
from codevault.errors import CaptureError, CheckpointError, ProbeError
from codevault.manifest import escaped, plain_json
from codevault.nest import Nest, is_tensordict, others, pack, same
from codevault.nest import check as check_node
from codevault.trial import EMPTY, run
from codevault.understudy import device_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Probe", "Replay", "check", "counts", "from_bytes", "record", "replay", "to_bytes"]

SEED: Final = 20_240_229
"""Seed of all random numbers of a run; recorded in the probe."""
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Probe:
    """Fixed observations and what the policy gave for them.

    Attributes:
        inputs: The observations. A tuple is the policy's positional arguments; anything else is
            its one argument.
        outputs: What it returned; of an argument that it returned, only what it wrote.
        state: Attributes that the run changes and that no state_dict holds, such as recurrent
            state, as they were before the run; a replay starts from them.
        seed: Seed of all random numbers.
        device: Type of the policy's device.
        drawn: True if the run drew random numbers.
        sampled: Paths of outputs that depend on them.
        tolerances: Absolute and relative tolerance by dtype.
        torch: Version of torch that recorded.
    """

    inputs: Nest
    outputs: Nest
    state: Nest
    seed: int
    device: str
    drawn: bool
    sampled: tuple[str, ...]
    tolerances: Mapping[str, tuple[float, float]]
    torch: str


def record(policy: Any, observations: Any) -> Probe:
    """Runs the policy on observations and records what it gives; the policy stays as it was.

    The run is seeded, in eval mode, without gradients, and on a copy (`understudy`).

    Args:
        policy: A module or any other callable.
        observations: A tensor, a TensorDict, or a dict: the one argument. A tuple: the positional
            arguments. Numbers, strings, None, arrays, lists and dicts may be nested in it. Or a
            function without parameters that returns one of these.

    Raises:
        CaptureError: The observations have parts that cannot be recorded, the policy raised, or it
            returned no tensor, so that no replay could ever fail.
    """
    if callable(observations) and not is_tensordict(observations):
        observations = observations()
    inputs = pack(observations, "in")
    if strangers := others(inputs.structure):
        raise CaptureError(
            "the probe's observations cannot be recorded",
            f"no tensors, numbers, strings or collections of them: {', '.join(strangers[:10])}",
            "pass tensors, or save_policy(..., probe=None) to save without a probe",
        )
    device = device_of(policy)
    try:
        first = run(policy, inputs, SEED, device.type, device, EMPTY, None)
        second = first
        if first.drawn:
            second = run(policy, inputs, SEED + 1, device.type, device, EMPTY, first.outputs)
    except Exception as error:
        raise CaptureError(
            f"the policy raised {type(error).__name__} on the probe's observations",
            str(error),
            "pass observations that the policy takes, as codevault.save_policy(..., probe=obs)",
        ) from error
    given, other = first.outputs.tensors, second.outputs.tensors
    if not any(tensor.numel() for tensor in given.values()):
        parts = ", ".join(others(first.outputs.structure)) or first.outputs.structure["kind"]
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
    )


def replay(policy: Any, probe: Probe) -> Replay:
    """Runs the policy on a probe's observations and compares; the policy stays as it was.

    What the policy raises is passed on.
    """
    device = device_of(policy)
    trial = run(policy, probe.inputs, probe.seed, probe.device, device, probe.state, probe.outputs)
    comparison = Comparison(
        probe.tolerances,
        sampled=frozenset(probe.sampled),
        portable=device.type == probe.device,
        drawn=probe.drawn,
        skipped=list(trial.unset),
    )
    comparison.run(probe.outputs, trial.outputs)
    return comparison.result(tuple(probe.state.structure["keys"]))


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


def counts(probe: Probe) -> tuple[int, int]:
    """How many tensors the probe has as inputs, and as outputs."""
    return len(probe.inputs.tensors), len(probe.outputs.tensors)


def to_bytes(probe: Probe) -> bytes:
    """The probe as the bytes of a safetensors file; equal probes are equal bytes."""
    tensors = dict(probe.inputs.tensors) | dict(probe.outputs.tensors) | dict(probe.state.tensors)
    data = {
        "format": _FORMAT,
        "inputs": probe.inputs.structure,
        "outputs": probe.outputs.structure,
        "state": probe.state.structure,
        "seed": probe.seed,
        "mode": "eval",
        "device": probe.device,
        "drawn": probe.drawn,
        "sampled": probe.sampled,
        "tolerances": probe.tolerances,
        "torch": probe.torch,
    }
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return b"".join(map(bytes, tensorfile.prepare(tensors, {"probe": text}).chunks()))


def from_bytes(data: bytes) -> Probe:
    """Reads what `to_bytes` gave.

    Raises:
        CheckpointError: The bytes are no probe, or one of a later format.
    """
    tensors, metadata = tensorfile.parse(bytearray(data), 0, len(data), "the probe")
    try:
        raw = plain_json(metadata["probe"])
        if raw["format"] != _FORMAT:
            raise ValueError(f"format {raw['format']!r}; this codevault reads {_FORMAT}")
        nests = []
        for key, root in (("inputs", "in"), ("outputs", "out"), ("state", "state")):
            mine = {n: t for n, t in tensors.items() if n == root or n.startswith(f"{root}.")}
            check_node(raw[key], mine)
            nests.append(Nest(raw[key], mine))
        inputs, outputs, state = nests
        made = state.structure["kind"] == "dict"
        if not made or others(inputs.structure) or others(state.structure):
            raise ValueError("it has inputs or state that cannot be made again")
        texts = [raw["device"], raw["torch"], *raw["sampled"], *state.structure["keys"]]
        if not all(type(text) is str for text in texts) or type(raw["drawn"]) is not bool:
            raise ValueError("it has facts of other types")
        if type(raw["seed"]) is not int or not 0 <= raw["seed"] < 1 << 32:
            raise ValueError("its seed is no number that all generators take")
        return Probe(
            inputs=inputs,
            outputs=outputs,
            state=state,
            seed=raw["seed"],
            device=escaped(raw["device"]),
            drawn=raw["drawn"],
            sampled=tuple(raw["sampled"]),
            tolerances={key: (float(a), float(r)) for key, (a, r) in raw["tolerances"].items()},
            torch=escaped(raw["torch"]),
        )
    except (LookupError, ArithmeticError, TypeError, AttributeError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
    except ValueError as error:
        why = str(error)
    raise CheckpointError(
        "the probe is damaged, or was written by a later codevault",
        escaped(why)[:500],
        "codevault.load_policy(uri, probe=False)  # loads it without this check",
    )
