"""What a trainer needs beside its policy to go on as if never stopped: optimizer, generators, data.

One safetensors file beside each checkpoint: tensors, and the rest as JSON. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from codevault import tensorfile
from codevault.errors import CaptureError, CheckpointError
from codevault.manifest import escaped, plain_json
from codevault.tensortree import Nest, others, pack, unpack
from codevault.tensortree import check as check_node
from codevault.writer import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codevault.tensorfile import Prepared

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class TrainerState:
    """The state of a trainer at the end of an epoch.

    Attributes:
        optimizer: The optimizer's `state_dict()`, or None.
        generators: The state of each random number generator, by its library.
        state: The trainer's own: schedulers, counters, curricula.
    """

    optimizer: Mapping[str, Any] | None
    generators: Mapping[str, Any]
    state: Any


def generators() -> dict[str, Any]:
    """The state of Python's, numpy's and torch's (CPU and, where it runs, CUDA) generators."""
    found: dict[str, Any] = {"python": random.getstate(), "torch": torch.get_rng_state()}
    if (numpy := sys.modules.get("numpy")) is not None:
        found["numpy"] = numpy.random.get_state()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        found["cuda"] = torch.cuda.get_rng_state_all()
    return found


def set_generators(states: Mapping[str, Any]) -> None:
    """Puts generators into the states that `generators` gave."""
    random.setstate(states["python"])
    torch.set_rng_state(states["torch"])
    if "numpy" in states:
        import numpy as np

        np.random.set_state(states["numpy"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"][: torch.cuda.device_count()])


def packed(state: TrainerState, buffers: Mapping[str, torch.Tensor]) -> Nest:
    """Copies a trainer's state to the CPU; `buffers` as for `nest.pack`.

    Raises:
        CaptureError: It has parts that are neither tensors, plain data nor collections of them.
    """
    nest = pack([state.optimizer, dict(state.generators), state.state], "trainer", buffers)
    if strangers := others(nest.structure):
        raise CaptureError(
            "the trainer's state cannot be saved",
            f"no tensors, numbers, text or collections of them: {', '.join(strangers[:10])}",
            "pass state_dict()s and plain data as state=",
        )
    return nest


def prepare(nest: Nest) -> Prepared:
    """Lays out what `packed` gave as a file, and computes its digest."""
    text = json.dumps({"format": _FORMAT, "structure": nest.structure}, separators=(",", ":"))
    return tensorfile.prepare(nest.tensors, {"trainer": text})


def write(prepared: Prepared, path: str) -> None:
    """Writes what `prepare` gave; the file is whole, or what was there before stays.

    Raises:
        CheckpointError: It cannot be written there.
    """
    with replacing(path) as file:
        for chunk in prepared.chunks():
            file.write(chunk)


def read(path: str, digest: str = "") -> TrainerState:
    """Reads what `write` wrote.

    Args:
        path: The file.
        digest: The sha256 that it must have; empty where nobody states one.

    Raises:
        CheckpointError: There is no such file, or it is damaged.
    """
    hint = "run.load(epoch)  # the policy alone"
    try:
        with open(path, "rb") as file:
            data = bytearray(file.read())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read", str(error), hint) from error
    if digest and (found := hashlib.sha256(data).hexdigest()) != digest:
        why = f"sha256 {found}, and its checkpoint states {digest}"
        raise CheckpointError(f"{path} is not the trainer state that was saved", why, hint)
    tensors, metadata = tensorfile.parse(data, 0, len(data), path)
    try:
        raw = plain_json(metadata["trainer"])
        if raw["format"] != _FORMAT:
            raise ValueError(f"format {raw['format']!r}; this codevault reads {_FORMAT}")
        check_node(raw["structure"], tensors)
        optimizer, states, own = unpack(Nest(raw["structure"], tensors), {})
        return TrainerState(optimizer, states, own)
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is no trainer state, or a damaged one",
            escaped(f"{type(error).__name__}: {error}")[:300],
            hint,
        ) from error


def fill(optimizer: Any, state: TrainerState, path: str) -> None:
    """Puts the saved state into an optimizer.

    Raises:
        CheckpointError: There is none: training would go on otherwise than it began.
    """
    if state.optimizer is None:
        raise CheckpointError(
            f"{path} holds no optimizer's state",
            "save was not given the optimizer",
            "run.resume(policy)  # the weights and generators alone",
        )
    optimizer.load_state_dict(state.optimizer)
