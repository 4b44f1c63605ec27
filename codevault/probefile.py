"""The probe as a file: safetensors with a description as JSON.

Format 1 has one step, format 2 several; the description of a format 1 file is that of its step.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from codevault import tensorfile
from codevault.errors import CheckpointError
from codevault.manifest import escaped, plain_json
from codevault.probe import Probe
from codevault.tensortree import Nest, others
from codevault.tensortree import check as check_node

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

_STEPS: Final = 4096
"""The most steps that a file may have."""


def to_bytes(probe: Probe) -> bytes:
    """The probe as the bytes of a safetensors file; equal probes are equal bytes."""
    nests = (*probe.inputs, *probe.outputs, probe.state)
    tensors = {path: tensor for nest in nests for path, tensor in nest.tensors.items()}
    several = len(probe.inputs) > 1
    inputs = [nest.structure for nest in probe.inputs]
    outputs = [nest.structure for nest in probe.outputs]
    data = {
        "format": 2 if several else 1,
        "inputs": inputs if several else inputs[0],
        "outputs": outputs if several else outputs[0],
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
    """Reads what `to_bytes` gave, of this format and each earlier one.

    Raises:
        CheckpointError: The bytes are no probe, or one of a later format.
    """
    tensors, metadata = tensorfile.parse(bytearray(data), 0, len(data), "the probe")
    try:
        return _read(plain_json(metadata["probe"]), tensors)
    except (LookupError, ArithmeticError, TypeError, AttributeError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
    except ValueError as error:
        why = str(error)
    raise CheckpointError(
        "the probe is damaged, or was written by a later codevault",
        escaped(why)[:500],
        "codevault.load_policy(uri, probe=False)  # loads it without this check",
    )


def _read(raw: Any, tensors: Mapping[str, torch.Tensor]) -> Probe:
    """The probe of a description; raises as `from_bytes` translates."""
    if raw["format"] not in (1, 2):
        raise ValueError(f"format {raw['format']!r}; this codevault reads 1 and 2")
    inputs = _nests(raw["inputs"], "in", raw["format"], tensors)
    outputs = _nests(raw["outputs"], "out", raw["format"], tensors)
    (state,) = _nests(raw["state"], "state", 1, tensors)
    if len(inputs) != len(outputs):
        raise ValueError("it has other numbers of inputs than of outputs")
    unusable = [text for nest in (*inputs, state) for text in others(nest.structure)]
    if state.structure["kind"] != "dict" or unusable:
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


def _nests(raw: Any, root: str, form: int, tensors: Mapping[str, torch.Tensor]) -> tuple[Nest, ...]:
    if form == 1:
        return (_nest(raw, root, tensors),)
    if type(raw) is not list or not 2 <= len(raw) <= _STEPS:
        raise ValueError(f"it has no steps from 2 to {_STEPS}")
    return tuple(_nest(node, f"{root}.{step}", tensors) for step, node in enumerate(raw))


def _nest(node: Any, root: str, tensors: Mapping[str, torch.Tensor]) -> Nest:
    mine = {n: t for n, t in tensors.items() if n == root or n.startswith(f"{root}.")}
    check_node(node, mine)
    return Nest(node, mine)
