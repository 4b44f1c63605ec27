"""What one pass through a policy does, exactly; equal for a native and an isolated policy.

Executed bytecodes, dispatched operators with shapes, the profiler's list of operators and (on CUDA)
of kernels with their launch figures, byte code, and all values, gradients included, bit by bit.
"""

from __future__ import annotations

import gc
import json
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LAUNCH = ("Input Dims", "grid", "block", "shared memory", "registers per thread", "bytes")
_NUMBERED = re.compile(r"(Torch-Compiled Region: |graph_)\d+(?:/\d+)?")
"""What is compiled is numbered as it comes."""
EVENTS = ("cpu_op", "kernel", "gpu_memcpy", "gpu_memset")


@dataclass(frozen=True, slots=True)
class Proof:
    """What one pass does: instructions, operators, kernels, byte code, values."""

    opcodes: int
    operators: tuple[tuple[str, tuple[tuple[int, ...], ...]], ...]
    kernels: tuple[str, ...]
    code: tuple[bytes, ...]
    values: tuple[torch.Tensor, ...]

    def differences(self, other: Proof) -> list[str]:
        parts = ("opcodes", "operators", "kernels", "code")
        found = [part for part in parts if getattr(self, part) != getattr(other, part)]
        same = len(self.values) == len(other.values) and all(
            torch.equal(a, b) for a, b in zip(self.values, other.values, strict=True)
        )
        return found if same else [*found, "values"]


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[tuple[str, tuple[tuple[int, ...], ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        shapes = tuple(tuple(a.shape) for a in args if isinstance(a, torch.Tensor))
        self.seen.append((str(func), shapes))
        return func(*args, **(kwargs or {}))


def forward(policy: torch.nn.Module, call: Callable[[], Any]) -> tuple[torch.Tensor, ...]:
    """One forward pass; its outputs."""
    with torch.no_grad():
        return tuple(tensors(call()))


def backward(policy: torch.nn.Module, call: Callable[[], Any]) -> tuple[torch.Tensor, ...]:
    """One forward and backward pass; the outputs, and the gradients of all parameters."""
    policy.zero_grad(set_to_none=True)
    outputs = tuple(tensors(call()))
    sum(out.square().sum() for out in outputs if out.requires_grad).backward()  # type: ignore[union-attr]
    grads = (p.grad for p in policy.parameters() if p.grad is not None)
    return (*(out.detach() for out in outputs), *(grad.clone() for grad in grads))


def prove(
    policy: torch.nn.Module,
    call: Callable[[], Any],
    run: Callable[[torch.nn.Module, Callable[[], Any]], tuple[torch.Tensor, ...]] = forward,
) -> Proof:
    """Runs a policy several times and writes down what it does.

    Args:
        policy: Whose byte code and gradients are meant.
        call: One call of it, or of its compiled form, whose operators are those of the eager one.
        run: `forward` or `backward`.
    """
    values = run(policy, call)
    run(policy, call)  # a compiled form compiles in the first; lazily made things are made
    kernels = _kernels(lambda: run(policy, call))
    # The first count of a code object is short on Python 3.12 and 3.13.
    _, second, third = (_opcodes(lambda: run(policy, call)) for _ in range(3))
    assert second == third > 0, f"the opcode count is not stable: {second}, {third}"
    # Last: while operators are watched dynamo steps aside, and it stays aside for that code.
    with _Operators() as operators:
        run(policy, call)
    code = tuple(type(part).forward.__code__.co_code for part in policy.modules())
    return Proof(second, tuple(operators.seen), kernels, code, values)


def tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item)


def _kernels(run: Callable[[], Any]) -> tuple[str, ...]:
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities, record_shapes=True) as profiler:
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    with tempfile.TemporaryDirectory(prefix="trace-") as folder:
        file = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(file))
        events = json.loads(file.read_text())["traceEvents"]
    # The host's operators apart from the device's kernels: those run behind, by any distance.
    wanted = sorted(
        (event for event in events if event.get("cat") in EVENTS),
        key=lambda event: (event["cat"] != "cpu_op", event["ts"], -event["dur"]),
    )
    return tuple(
        json.dumps(
            [
                e["cat"],
                _NUMBERED.sub(r"\1#", e["name"]),
                {k: v for k, v in e["args"].items() if k in LAUNCH},
            ]
        )
        for e in wanted
    )


def _opcodes(run: Callable[[], Any]) -> int:
    count, before = 0, sys.gettrace()

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    # A collection in between would run other objects' finalizers, and count them.
    gc.collect()
    gc.disable()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
        gc.enable()
    return count
