"""The safetensors format, written as a stream and read without a copy.

The `safetensors` package can do neither inside another file: it writes from memory, and maps whole
files. What is written here is what it reads; the other way round as well.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from codevault.errors import CaptureError, CheckpointError
from codevault.manifest import crowded, escaped, plain_json, unfit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DIMENSIONS: Final = 64
ALIGN: Final = 64
"""Where tensor data starts, relative to the member; torch allocates at multiples of 64 as well."""
_HEADER_LIMIT: Final = 16 << 20
"""The format allows 100 MB, of which a stranger could have gigabytes of small objects made."""
_NAMES: Final = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}
# An older torch lacks some of them.
DTYPES: Final[Mapping[str, torch.dtype]] = {
    name: getattr(torch, attribute)
    for name, attribute in _NAMES.items()
    if hasattr(torch, attribute)
}
"""The format's names of torch's dtypes."""
_WIDE: Final = "complex128"
"""The metadata that names tensors of pairs: the format has no complex numbers of 128 bits."""
_FORMAT_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()} | {torch.complex128: "F64"}


@dataclass(frozen=True, slots=True)
class Prepared:
    """Tensors that are ready to be written as one safetensors member.

    Attributes:
        header: The format's length field and JSON header.
        tensors: Name and tensor, in the order of the file.
        sha256: Digest of the member that will be written.
        crc: Its CRC-32.
        size: Its bytes.
    """

    header: bytes
    tensors: tuple[tuple[str, torch.Tensor], ...]
    sha256: str
    crc: int
    size: int

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The member's bytes; holds a contiguous copy of at most one tensor at a time."""
        return _stream(self.header, self.tensors)


def refusal(tensor: torch.Tensor) -> str:
    """Why this tensor cannot stand in a file of plain tensors, or the empty string."""
    if torch.nn.parameter.is_lazy(tensor):
        return "is not initialised yet; run the policy once before it is saved"
    if tensor.is_quantized:
        return "is quantized; save it dequantized"
    # By exact type: isinstance also calls a distributed shard a Parameter.
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return f"is a {type(tensor).__qualname__}, not a plain tensor; save its full tensor"
    if tensor.layout is not torch.strided:
        return f"has layout {tensor.layout}; save it dense"
    if tensor.is_meta:
        return "is on the meta device: it has no values"
    if tensor.dtype not in _FORMAT_NAMES:
        return f"has dtype {tensor.dtype}, which safetensors has no name for"
    return ""


def prepare(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> Prepared:
    """Lays out tensors for a file and computes its digest, one tensor at a time.

    Args:
        tensors: Plain tensors of any device and strides, by name.
        metadata: Text for the header's `__metadata__`; left out when empty.

    Raises:
        CaptureError: Tensors that cannot be written, all of them named.
    """
    faults = [f"{name} {why}" for name in sorted(tensors) if (why := refusal(tensors[name]))]
    if "__metadata__" in tensors:
        faults.append("__metadata__ is a name that safetensors keeps for itself")
    faults += [f"{name!a} is no Unicode" for name in tensors if not name.isascii() and unfit(name)]
    if faults:
        raise CaptureError(
            f"{len(faults)} of {len(tensors)} tensors cannot be saved",
            "; ".join(faults[:10]),
            "register_buffer(..., persistent=False)  # for what a load makes anew; else change it",
        )
    # The format allows no holes. Multiples of 64 bytes come first, so that each of them is aligned
    # as torch aligns its own; the rest by size of dtype, so that each is aligned to its dtype.
    ordered = sorted(
        tensors.items(),
        key=lambda item: (item[1].nbytes % ALIGN != 0, -item[1].itemsize, item[0]),
    )
    wide = [name for name, tensor in ordered if tensor.dtype is torch.complex128]
    texts = {**metadata, **({_WIDE: json.dumps(wide)} if wide else {})}
    entries: dict[str, Any] = {"__metadata__": dict(sorted(texts.items()))} if texts else {}
    place = 0
    for name, tensor in ordered:
        end = place + tensor.nbytes
        shape = [*tensor.shape, *([2] if tensor.dtype is torch.complex128 else [])]
        dtype = _FORMAT_NAMES[tensor.dtype]
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, end]}
        place = end
    plain = json.dumps(entries, separators=(",", ":"), ensure_ascii=False)
    text = plain.encode()
    text += b" " * (-(8 + len(text)) % ALIGN)
    if len(text) > _HEADER_LIMIT or crowded(plain) or unfit(entries):
        raise CaptureError(
            f"{len(tensors)} tensors cannot be saved: too many to be read again",
            f"their names and shapes have {len(text):,} bytes, and may have {_HEADER_LIMIT:,}",
        )
    header = struct.pack("<Q", len(text)) + text
    digest, crc, size = hashlib.sha256(), 0, 0
    for chunk in _stream(header, ordered):
        digest.update(chunk)
        crc, size = binascii.crc32(chunk, crc), size + len(chunk)
    return Prepared(header, tuple(ordered), digest.hexdigest(), crc, size)


def _stream(header: bytes, tensors: Any) -> Iterator[bytes | memoryview]:
    yield header
    for _, tensor in tensors:
        if tensor.numel():
            plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
            yield memoryview(plain.reshape(-1).view(torch.uint8).numpy())


def parse(
    buffer: Any, start: int, size: int, where: str
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Reads a safetensors member from a writable buffer, as tensors that share its memory.

    Args:
        buffer: A writable buffer, such as a private mapping; each tensor keeps it alive.
        start: Where the member starts in it; a tensor that is not aligned to its dtype is copied.
        size: Bytes of the member.
        where: The file, for messages.

    Returns:
        The tensors in the file's order, and the text of the header's `__metadata__`.

    Raises:
        CheckpointError: The header is damaged, or has a dtype that this torch does not know.
    """
    try:
        (length,) = struct.unpack_from("<Q", buffer, start) if size >= 8 else (size,)
        if length > min(size - 8, _HEADER_LIMIT):
            raise ValueError(f"it states {length} bytes, and the member has {size}")
        entries = plain_json(bytes(buffer[start + 8 : start + 8 + length]))
        if wrong := unfit(entries):
            raise ValueError(f"it {wrong}")
        metadata = entries.pop("__metadata__", None) or {}
        wide = set(plain_json(metadata.pop(_WIDE, "[]")))
        items = [_entry(name, entry, wide) for name, entry in entries.items()]
        base, end = start + 8 + length, 0
        for name, _, _, low, high in sorted(items, key=lambda item: item[3:]):
            if low != end:
                raise ValueError(f"{name!r} starts at {low}, and the one before it ends at {end}")
            end = high
        if end != size - 8 - length:
            raise ValueError(f"its tensors end at {end} of {size - 8 - length} bytes")
        if not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("its metadata is no text")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{where} has tensors with a damaged header",
            escaped(str(error))[:500],
            "restore the file from a copy, or save the checkpoint again",
        ) from None
    return {
        name: _view(buffer, dtype, shape, base + low) for name, dtype, shape, low, _ in items
    }, metadata


def _entry(name: str, entry: Any, wide: set[Any]) -> tuple[str, torch.dtype, list[int], int, int]:
    dtype = DTYPES.get(entry["dtype"])
    if dtype is None:
        raise ValueError(
            f"{name!r} has dtype {entry['dtype']!r}, which torch {torch.__version__} lacks"
        )
    shape, places = entry["shape"], entry["data_offsets"]
    lists = type(shape) is list and type(places) is list and len(shape) <= _DIMENSIONS
    if not lists or not all(type(value) is int and value >= 0 for value in (*shape, *places)):
        raise ValueError(f"{name!r} has a shape or place that is no list of whole numbers")
    low, high = places
    # torch computes strides, so that even an empty tensor must have sizes that can be multiplied.
    if max(high, math.prod(size or 1 for size in shape) * dtype.itemsize) >= 1 << 62:
        raise ValueError(f"{name!r} has a shape or place beyond all memory")
    if high - low != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name!r} has shape {shape} and {high - low} bytes")
    if name not in wide:
        return name, dtype, shape, low, high
    if dtype is not torch.float64 or shape[-1:] != [2]:
        raise ValueError(f"{name!r} is no tensor of pairs")
    return name, torch.complex128, shape[:-1], low, high


def _view(buffer: Any, dtype: torch.dtype, shape: list[int], offset: int) -> torch.Tensor:
    count = math.prod(shape)
    if not count:
        return torch.empty(shape, dtype=dtype, device="cpu")
    flat = torch.frombuffer(buffer, dtype=torch.uint8, count=count * dtype.itemsize, offset=offset)
    if flat.data_ptr() % dtype.itemsize:
        flat = flat.clone()
    # .data: without it the result is a view in autograd's eyes, and keeps two more owners alive.
    return flat.view(dtype).view(shape).data
