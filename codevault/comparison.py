"""The comparison of recorded with replayed outputs: by dtype, relative to the outputs' scale."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codevault.tensortree import Nest

TOLERANCES: Final[Mapping[str, tuple[float, float]]] = {
    "float64": (1e-12, 1e-9),
    "float32": (1e-6, 1e-4),
    "float16": (1e-3, 2e-2),
    "bfloat16": (1e-3, 2e-2),
    "complex64": (1e-6, 1e-4),
    "complex128": (1e-12, 1e-9),
}
"""Absolute tolerance, and tolerance relative to the largest recorded value, by dtype.

Wide enough for another kernel, thread count or device; a changed weight or default is far outside.
"""
_COARSE: Final = (1e-2, 1.5e-1)


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay found.

    Attributes:
        ok: True if something was compared and nothing differs beyond its tolerance.
        worst: Path of the output that is furthest outside its tolerance, or closest to it.
        difference: Its largest difference.
        scale: Its largest recorded value.
        tolerance: What it may differ by.
        compared: How many outputs were compared.
        skipped: Outputs and state that were not, and why.
        faults: What differs besides values: structure, shapes, dtypes, integers.
        restored: State that was set for the run; a loaded policy starts without it.
    """

    ok: bool
    worst: str
    difference: float
    scale: float
    tolerance: float
    compared: int
    skipped: tuple[str, ...]
    faults: tuple[str, ...]
    restored: tuple[str, ...]

    def __str__(self) -> str:
        parts = list(self.faults[:10])
        if not self.ok and self.difference > self.tolerance:
            values = f"scale {self.scale:.3g}, tolerance {self.tolerance:.3g}"
            parts.insert(0, f"max {self.difference:.3g} at {self.worst}, {values}")
        return "; ".join(parts) or f"{self.compared} outputs compared"


@dataclass(slots=True)
class Comparison:
    """The findings of one comparison, as they are gathered.

    Attributes:
        tolerances: As `TOLERANCES`; those that were recorded.
        sampled: Paths of outputs that depend on random numbers.
        portable: False if recorded and replayed on different kinds of device, whose streams of
            random numbers differ.
        drawn: True if the recorded run drew random numbers, so that any integer may be sampled.
        worst: Path of the output that is furthest outside, or closest to it.
        difference: Its largest difference.
        scale: Its largest recorded value.
        tolerance: What it may differ by.
        compared: How many outputs were compared.
        skipped: Outputs that were not, and why.
        faults: What else differs, in sentences.
        unequal: Where integers differ, by path, each with a sentence; faults unless a tie.
    """

    tolerances: Mapping[str, tuple[float, float]]
    sampled: frozenset[str] = frozenset()
    portable: bool = True
    drawn: bool = False
    worst: str = ""
    difference: float = 0.0
    scale: float = 0.0
    tolerance: float = 0.0
    compared: int = 0
    skipped: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    unequal: dict[str, tuple[torch.Tensor, str]] = field(default_factory=dict)
    _ratio: float = -1.0

    def run(self, expected: Nest, actual: Nest) -> None:
        """Compares two nests, node by node."""
        self._node(expected.structure, actual.structure, expected, actual)

    def _node(
        self, old: Mapping[str, Any], new: Mapping[str, Any], expected: Nest, actual: Nest
    ) -> None:
        path, kind = old["path"], old["kind"]
        if kind == "other":
            self.skipped.append(f"{path} ({old['type']})")
        elif not self.portable and self._is_sampled(old, expected):
            self.skipped.append(f"{path} (sampled on another kind of device)")
        elif kind != new["kind"]:
            self.faults.append(f"{path} is a {_kind(new)}, and was a {_kind(old)}")
        elif kind in ("tensor", "array"):
            self._tensor(path, expected.tensors[path], actual.tensors[new["path"]])
        elif kind == "float":
            recorded, replayed = (float(node["value"]) for node in (old, new))
            # A Python float is mostly some tensor's `item()`, so it has that tensor's precision.
            self._numbers(path, torch.tensor([recorded]), torch.tensor([replayed]))
        elif kind == "value":
            self.compared += 1
            if type(old["value"]) is not type(new["value"]) or old["value"] != new["value"]:
                text = f"{path} is {new['value']!r}, and was {old['value']!r}"
                if type(old["value"]) is type(new["value"]) is int:
                    self.unequal[path] = (torch.ones(1, dtype=torch.bool), text)
                else:
                    self.faults.append(text)
        else:
            self._items(path, old, new, expected, actual)

    def _items(
        self,
        path: str,
        old: Mapping[str, Any],
        new: Mapping[str, Any],
        expected: Nest,
        actual: Nest,
    ) -> None:
        olds, news = _keyed(old), _keyed(new)
        if old.get("batch") != new.get("batch"):
            self.faults.append(f"{path} has batch {new['batch']}, and had {old['batch']}")
        gone = [str(key) for key in olds if key not in news]
        come = [str(key) for key in news if key not in olds]
        if gone or come:
            parts = [f"lacks {', '.join(gone)}"] if gone else []
            parts += [f"has {', '.join(come)} besides"] if come else []
            self.faults.append(f"{path} {' and '.join(parts)}")
        for key in [key for key in olds if key in news]:
            self._node(olds[key], news[key], expected, actual)

    def _is_sampled(self, old: Mapping[str, Any], expected: Nest) -> bool:
        path, kind = old["path"], old["kind"]
        if path in self.sampled:
            return True
        if not self.drawn:
            return False
        if kind == "value":
            return type(old["value"]) in (int, bool)
        return kind in ("tensor", "array") and _exact(expected.tensors[path])

    def _tensor(self, path: str, old: torch.Tensor, new: torch.Tensor) -> None:
        if old.dtype != new.dtype:
            self.faults.append(f"{path} has {_name(new)}, and had {_name(old)}")
        elif old.shape != new.shape:
            self.faults.append(f"{path} has shape {list(new.shape)}, and had {list(old.shape)}")
        elif not _exact(old):
            self._numbers(path, old, new)
        else:
            self.compared += 1
            places = old != new
            if places.any():
                count = f"{int(places.sum())} of {old.numel()} {_name(old)} values"
                self.unequal[path] = (places, f"{path} differs in {count}")

    def _numbers(self, path: str, old: torch.Tensor, new: torch.Tensor) -> None:
        self.compared += 1
        absolute, relative = self.tolerances.get(_name(old), _COARSE)
        wide = torch.complex128 if old.is_complex() else torch.float64
        a, b = old.to(wide).reshape(-1), new.to(wide).reshape(-1)
        finite = a[torch.isfinite(a)].abs()
        scale = float(finite.max()) if finite.numel() else 0.0
        tolerance = absolute + relative * scale
        alike = (a == b) | (torch.isnan(a) & torch.isnan(b))
        difference = torch.where(alike, 0.0, (a - b).abs())
        largest = (
            float(difference.nan_to_num(nan=math.inf, posinf=math.inf).max()) if a.numel() else 0.0
        )
        if largest / tolerance > self._ratio:
            self._ratio = largest / tolerance
            self.worst, self.difference = path, largest
            self.scale, self.tolerance = scale, tolerance

    @property
    def tied(self) -> bool:
        """Whether integers differ and nothing else does: what decided them may be a near tie."""
        return bool(self.unequal) and not self.faults and self._ratio <= 1.0

    def forgive(self, other: Comparison) -> None:
        """Drops places where another run, whose numbers hardly differ, gives what was recorded."""
        for path, (places, text) in list(self.unequal.items()):
            there = other.unequal.get(path)
            left = places & there[0] if there else torch.zeros_like(places)
            self.unequal[path] = (left, text)
            if not left.any():
                del self.unequal[path]
                self.skipped.append(f"{text} (near ties)")

    def result(self, restored: tuple[str, ...]) -> Replay:
        """The findings; `restored` names the state that was set for the run."""
        faults = (*self.faults, *(text for _, text in self.unequal.values()))
        return Replay(
            ok=bool(self.compared) and not faults and self._ratio <= 1.0,
            worst=self.worst,
            difference=self.difference,
            scale=self.scale,
            tolerance=self.tolerance,
            compared=self.compared,
            skipped=tuple(self.skipped),
            faults=faults,
            restored=restored,
        )


def _keyed(node: Mapping[str, Any]) -> dict[Any, Any]:
    keys = node.get("keys", range(len(node["items"])))
    return dict(zip(keys, node["items"], strict=True))


def _kind(node: Mapping[str, Any]) -> str:
    return str(node.get("type", node["kind"]))


def _name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _exact(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() and not tensor.is_complex()
