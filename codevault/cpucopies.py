"""Copies of tensors on the CPU, in memory of earlier copies: new memory costs more than copying."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch


class Copies(dict[str, "torch.Tensor"]):
    """Contiguous copies on the CPU, by path; made in `buffers` where these fit."""

    def __init__(self, buffers: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self._buffers = buffers

    def add(self, path: str, tensor: torch.Tensor) -> None:
        """Copies a tensor."""
        self[path] = copied(tensor, self._buffers.get(path))


def copied(tensor: torch.Tensor, buffer: torch.Tensor | None) -> torch.Tensor:
    """A contiguous copy on the CPU; in `buffer`, if that has the shape and dtype."""
    plain = tensor.detach().resolve_conj().resolve_neg()
    if buffer is None or buffer.shape != plain.shape or buffer.dtype != plain.dtype:
        # `to` with copy keeps strides; contiguous makes what comes out of a file equal to this.
        return plain.to("cpu", copy=True).contiguous()
    return buffer.copy_(plain)
