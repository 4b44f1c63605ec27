"""Does isolation cost anything in a forward pass? Exact proof first, then paired times.

    python -m benchmarks.forward [--quick] [--json FILE]

Arms that hold the same parameter storages: `plain` (a plain import), `control` (the same file,
plainly imported a second time under another name), `isolated` (`codevault.load_code`), `planted`
(plain, slowed down by 2 to 3%). Blocks run the arms in random ABBA order with the garbage collector
off; a ratio is the median of the blocks' paired ratios to `plain`, with its bootstrap 95% interval.
No ratio is given where the control is off by more than 1% or the planted slowdown is not seen.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import codevault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

MARGIN = 0.01
PLANTED = 0.02
"""Share of a forward pass to wait for; the call that waits adds to it at small batches."""
SHAPES = {"Residual": (64,), "Recurrent": (3, 16, 16)}
SCALE = "def scaled(x):\n    return x * 0.5\n"
NET = """
import torch
from torch import nn
from walker.scale import scaled

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.inner = nn.LayerNorm(width), nn.Linear(width, 2 * width)
        self.outer = nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.outer(torch.nn.functional.gelu(self.inner(self.norm(x))))

class Residual(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        self.encoder = nn.Linear(64, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(2))
        self.actor, self.critic = nn.Linear(width, 8), nn.Linear(width, 1)

    def forward(self, obs):
        from walker.scale import scaled as late       # an own import at call time
        x = torch.tanh(self.encoder(late(obs)))
        for block in self.blocks:
            x = block(x)
        return self.actor(x), self.critic(x)

class Recurrent(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.convolved = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU(), nn.Flatten()
        )
        self.memory = nn.LSTM(72, width, batch_first=True)
        self.actor, self.critic = nn.Linear(width, 8), nn.Linear(width, 1)

    def forward(self, obs):
        x = self.convolved(scaled(obs))
        x, state = self.memory(x.unsqueeze(1))
        return self.actor(x[:, 0]), self.critic(x[:, 0]), *state
"""


@dataclass(frozen=True, slots=True)
class Proof:
    """What one forward pass does, exactly: instructions, operators, byte code, outputs."""

    opcodes: int
    operators: tuple[tuple[str, tuple[tuple[int, ...], ...]], ...]
    code: tuple[bytes, ...]
    outputs: tuple[torch.Tensor, ...]

    def differences(self, other: Proof) -> list[str]:
        found = [
            p for p in ("opcodes", "operators", "code") if getattr(self, p) != getattr(other, p)
        ]
        pairs = zip(self.outputs, other.outputs, strict=True)
        return found + ([] if all(torch.equal(a, b) for a, b in pairs) else ["outputs"])


@dataclass(frozen=True, slots=True)
class Ratio:
    """A median of paired ratios to the plain arm, with its bootstrap 95% interval."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.4f} [{self.low:.4f}, {self.high:.4f}]"

    @property
    def is_one(self) -> bool:
        return self.low > 1 - MARGIN and self.high < 1 + MARGIN


@dataclass(frozen=True, slots=True)
class Row:
    """The times of one policy at one batch size; no ratio of the isolated arm if unresolved."""

    policy: str
    batch: int
    plain_us: float
    control: Ratio
    planted: Ratio
    isolated: Ratio | None
    verdict: str

    def __str__(self) -> str:
        return (
            f"{self.policy:9} batch {self.batch:<5} plain {self.plain_us:9.1f} us   "
            f"control {self.control}   planted {self.planted}   "
            f"isolated {self.isolated or 'not claimed'}   {self.verdict}"
        )


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[tuple[str, tuple[tuple[int, ...], ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        shapes = tuple(tuple(a.shape) for a in args if isinstance(a, torch.Tensor))
        self.seen.append((str(func), shapes))
        return func(*args, **(kwargs or {}))


def make_repository(folder: Path, net: str = NET) -> tuple[Path, str]:
    """A git repository with the policies as package `walker`, and its commit."""
    for name, text in (("__init__", ""), ("scale", SCALE), ("net", net)):
        file = folder / "walker" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "policies"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return folder, head.stdout.strip()


def import_arms(folder: Path) -> dict[str, ModuleType]:
    """The policies' module as each arm has it."""
    repo, commit = make_repository(folder / "repo")
    sys.path.insert(0, str(repo))
    try:
        plain = importlib.import_module("walker.net")
    finally:
        sys.path.remove(str(repo))
    spec = importlib.util.spec_from_file_location("walker_control", repo / "walker" / "net.py")
    assert spec is not None
    assert spec.loader is not None
    control = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(control)
    splint = codevault.load_code(repo, commit, cache=folder / "cache")
    return {"plain": plain, "control": control, "isolated": splint.import_module("walker.net")}


def build(arms: Mapping[str, ModuleType], policy: str) -> dict[str, Any]:
    """One policy of each arm, all on the parameters of the first."""
    torch.manual_seed(0)
    weights = next(getattr(arm, policy)() for arm in arms.values()).state_dict()
    made = {}
    for name, arm in arms.items():
        with torch.device("meta"):
            made[name] = getattr(arm, policy)()
        made[name].load_state_dict(weights, assign=True)
        made[name].requires_grad_(False).eval()
        assert all(
            p.data_ptr() == weights[key].data_ptr() for key, p in made[name].named_parameters()
        )
    return made


def observations(policy: str, batch: int) -> torch.Tensor:
    return torch.randn(batch, *SHAPES[policy], generator=torch.Generator().manual_seed(batch))


def prove(policy: Any, obs: torch.Tensor) -> Proof:
    """Runs a policy and writes down what it does."""
    with torch.inference_mode():
        outputs = policy(obs)
        with _Operators() as operators:
            policy(obs)
        # The first count of a code object is short on Python 3.12 and 3.13.
        _, second, third = (_opcodes(policy, obs) for _ in range(3))
    assert second == third > 0, f"the opcode count is not stable: {second}, {third}"
    code = tuple(type(part).forward.__code__.co_code for part in policy.modules())
    return Proof(second, tuple(operators.seen), code, outputs)


def _opcodes(policy: Any, obs: torch.Tensor) -> int:
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
        policy(obs)
    finally:
        sys.settrace(before)
        gc.enable()
    return count


def measure(
    name: str, policies: Mapping[str, Any], batch: int, blocks: int, slice_us: float
) -> Row:
    """The paired times of one policy's arms at one batch size."""
    obs, dice = observations(name, batch), random.Random(batch)
    with torch.inference_mode():
        for policy in policies.values():
            _time(policy, obs, 20)
        plain_ns = min(_time(policies["plain"], obs, 10) for _ in range(5))
        arms = {**policies, "planted": _slowed(policies["plain"], round(PLANTED * plain_ns))}
        inner = max(2, round(slice_us * 1e3 / plain_ns))
        times: dict[str, list[float]] = {arm: [] for arm in arms}
        gc.collect()
        gc.disable()
        try:
            for _ in range(blocks):
                order = dice.sample(sorted(arms), len(arms))
                spent = dict.fromkeys(arms, 0.0)
                for arm in order + order[::-1]:
                    spent[arm] += _time(arms[arm], obs, inner) / 2
                for arm, value in spent.items():
                    times[arm].append(value)
        finally:
            gc.enable()
    ratios = {a: _ratio(times[a], times["plain"], dice) for a in arms if a != "plain"}
    given = judge(ratios["control"], ratios["planted"], ratios["isolated"])
    return Row(
        policy=name,
        batch=batch,
        plain_us=statistics.median(times["plain"]) / 1e3,
        control=ratios["control"],
        planted=ratios["planted"],
        isolated=None if given.startswith("unresolved:") else ratios["isolated"],
        verdict=given,
    )


def judge(control: Ratio, planted: Ratio, isolated: Ratio) -> str:
    """The verdict: equal, slower or unresolved; with a colon if no ratio can be given."""
    if not control.is_one:
        return "unresolved: the control is off by more than 1%"
    if planted.low <= 1:
        return "unresolved: the planted slowdown is not seen"
    if isolated.is_one:
        return "equal"
    # Beyond what the control shows of identical code; otherwise it is noise.
    return "slower" if isolated.low > max(1, control.high) else "unresolved"


def _time(policy: Callable[[torch.Tensor], Any], obs: torch.Tensor, inner: int) -> float:
    start = time.perf_counter_ns()
    for _ in range(inner):
        policy(obs)
    return (time.perf_counter_ns() - start) / inner


def _slowed(policy: Callable[[torch.Tensor], Any], wait_ns: int) -> Callable[[torch.Tensor], Any]:
    def slowed(obs: torch.Tensor, clock: Callable[[], int] = time.perf_counter_ns) -> Any:
        end = clock() + wait_ns
        while clock() < end:
            pass
        return policy(obs)

    return slowed


def _ratio(times: Sequence[float], plain: Sequence[float], dice: random.Random) -> Ratio:
    paired = [mine / other for mine, other in zip(times, plain, strict=True)]
    draws = [statistics.median(dice.choices(paired, k=len(paired))) for _ in range(2000)]
    draws.sort()
    return Ratio(statistics.median(paired), draws[49], draws[1949])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forward")
    parser.add_argument("--quick", action="store_true", help="small batches and few blocks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args(arguments)
    blocks, slice_us, batches = (12, 300, (1, 4)) if options.quick else (400, 1500, (1, 64, 512))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    proofs: dict[str, list[str]] = {}
    rows = []
    try:
        with tempfile.TemporaryDirectory(prefix="forward-") as folder:
            arms = import_arms(Path(folder))
            for name in SHAPES:
                policies = build(arms, name)
                for batch in batches:
                    first, *others = (
                        prove(p, observations(name, batch)) for p in policies.values()
                    )
                    differ = sorted({d for other in others for d in first.differences(other)})
                    proofs[f"{name}/{batch}"] = differ
                    said = f"differ: {', '.join(differ)}" if differ else "equal in all parts"
                    print(
                        f"{name:9} batch {batch:<5} {first.opcodes} opcodes, "
                        f"{len(first.operators)} operators: {said}"
                    )
                    rows.append(measure(name, policies, batch, blocks, slice_us))
                    print(rows[-1], flush=True)
    finally:
        torch.set_num_threads(threads)
    if options.json is not None:
        figures = {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "blocks": blocks,
            "differences": proofs,
            "rows": [asdict(row) for row in rows],
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return int(any(proofs.values()) or any(row.verdict == "slower" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
