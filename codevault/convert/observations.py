"""Observations for a probe, from a file or from a description: the same in every process."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import torch

from codevault import tensorfile
from codevault.errors import CheckpointError, ConvertError

NONE: Final = "none"
"""Says that no probe is wanted."""
EXAMPLE: Final = "float32[1,4]"
_SEED: Final = 20_240_229
_TENSOR: Final = re.compile(r"([a-z0-9]+)\[([0-9, ]*)\](?:<([0-9]+))?")
_LARGEST: Final = 1 << 28
_DEPTH: Final = 6


def parse(text: str) -> Any:
    """Reads what `--probe` takes.

    One of: a `.safetensors` file (its one tensor is the observation; more are positional arguments
    if they are named 0, 1, ..., else a dict); `float32[1,4]`, values from a normal distribution;
    `int64[2,8]<10`, whole numbers from 0 to 9 (below 2 without a bound); JSON in which such texts
    stand in a list (positional arguments) or a mapping (a dict; with `"$tensordict": [2]` a
    TensorDict of that batch size).

    Raises:
        ConvertError: It is none of these.
    """
    if text.endswith(".safetensors"):
        return _from_file(text)
    generator = torch.Generator().manual_seed(_SEED)
    try:
        data = json.loads(text) if text[:1] in '[{"' else text
        return _made(data, generator, 0)
    except (ValueError, TypeError, RuntimeError, RecursionError, ImportError) as error:
        hint = f"--probe '{EXAMPLE}', or --probe obs.safetensors"
        raise ConvertError(f"{text!r} describes no observations", str(error), hint) from None


def _from_file(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            data = bytearray(file.read())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be opened", str(error), "ls") from None
    tensors = {k: v.clone() for k, v in tensorfile.parse(data, 0, len(data), path)[0].items()}
    if not tensors:
        raise ConvertError(f"{path} has no tensors", "", f"--probe '{EXAMPLE}'")
    places = [str(i) for i in range(len(tensors))]
    if set(tensors) == set(places) and len(tensors) > 1:
        return tuple(tensors[place] for place in places)
    return next(iter(tensors.values())) if len(tensors) == 1 else tensors


def _made(data: Any, generator: torch.Generator, depth: int) -> Any:
    if depth > _DEPTH:
        raise ValueError("it is nested too deeply")
    if isinstance(data, str):
        return _tensor(data, generator)
    if isinstance(data, list):
        return tuple(_made(part, generator, depth + 1) for part in data)
    if not isinstance(data, dict):
        return data
    rest = {key: value for key, value in data.items() if key != "$tensordict"}
    made = {key: _made(value, generator, depth + 1) for key, value in rest.items()}
    if "$tensordict" not in data:
        return made
    from tensordict import TensorDict

    return TensorDict(made, batch_size=data["$tensordict"])


def _tensor(text: str, generator: torch.Generator) -> torch.Tensor:
    match = _TENSOR.fullmatch(text)
    dtype = getattr(torch, match[1], None) if match else None
    if match is None or not isinstance(dtype, torch.dtype):
        raise ValueError(f"{text!r} is no dtype[sizes], such as {EXAMPLE}")
    shape = [int(size) for size in match[2].split(",") if size.strip()]
    count = 1
    for size in shape:
        count *= size
    if count > _LARGEST:
        raise ValueError(f"{text!r} has more than {_LARGEST:,} values")
    if dtype.is_floating_point or dtype.is_complex:
        if match[3]:
            raise ValueError(f"{text!r} has a bound, and {match[1]} is no whole number")
        return torch.randn(shape, generator=generator).to(dtype)
    return torch.randint(0, int(match[3] or 2), shape, generator=generator).to(dtype)
