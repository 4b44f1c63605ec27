"""What the audit of a load costs: a look before old code runs, one after it, and the comparison.

    python -m benchmarks.audit [--quick] [--json FILE]

In a process with the modules of a usual application loaded, and with 60 shared modules to sweep,
`audited` and `control`, which do the same, run in random order; the figure is the median CPU time
of the first. If the two differ by more than 10 %, the machine is too noisy and no verdict is given.
A third arm, `found`, is the audit of code that changed things, which reads old code's text as well.
"""

from __future__ import annotations

import gc
import importlib
import os
import random
import statistics
import sys
import tempfile
import time
import types
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import result
from codevault import audit

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Sequence

BUDGET_MS: Final = 15.0
NOISE: Final = 0.10
SPLINT: Final = "_splint_0123456789ab_cdef01234567"
SHARED: Final = "benchmark_compat"
APPLICATION: Final = (
    *("torch", "torch._dynamo", "torch._inductor.config", "torch.distributions", "numpy"),
    *("gymnasium", "tensordict.nn", "pandas", "matplotlib.pyplot", "yaml"),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """CPU times in milliseconds."""

    modules: int
    first: float
    audited: float
    low: float
    high: float
    worst: float
    found: float
    ratio: float
    verdict: str

    def __str__(self) -> str:
        return (
            f"{self.modules} modules loaded: median {self.audited:.2f} ms CPU "
            f"[{self.low:.2f}, {self.high:.2f}], first {self.first:.2f}, worst {self.worst:.2f}, "
            f"with findings {self.found:.2f}; control {self.ratio:.3f}; {self.verdict}"
        )


def load_application() -> None:
    """Imports what an application has loaded before it loads a policy, as far as it is here."""
    for name in APPLICATION:
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            importlib.import_module(name)


def make_shared(folder: Path, modules: int = 60) -> Iterator[str]:
    """Imports shared modules of 10 functions and 5 classes with 6 methods each."""
    package = folder / SHARED
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    methods = "".join(f"    def m{i}(self): return {i}\n" for i in range(6))
    text = "".join(f"def f{i}(): return {i}\n" for i in range(10))
    text += "".join(f"class C{i}:\n{methods}" for i in range(5))
    sys.path.insert(0, str(folder))
    try:
        for i in range(modules):
            (package / f"m{i}.py").write_text(text)
            importlib.invalidate_caches()
            yield importlib.import_module(f"{SHARED}.m{i}").__name__
    finally:
        sys.path.remove(str(folder))


def clean() -> audit.Audit:
    """One audit of code that changes nothing."""
    return audit.compare(audit.take(SPLINT, (SHARED,)))


def changing() -> audit.Audit:
    """One audit of code that changes things; they are put back outside the time."""
    import torch

    before = audit.take(SPLINT, (SHARED,))
    torch.set_grad_enabled(False)
    os.environ["BENCHMARK_OF_THE_AUDIT"] = "1"
    sys.modules[f"{SHARED}.m0"].f0 = time.time  # type: ignore[attr-defined]
    return audit.compare(before)


def measure(rounds: int) -> Figures:
    """The times of all arms, interleaved in random order."""
    dice = random.Random(0)
    sys.modules.setdefault(SPLINT, types.ModuleType(SPLINT))
    first = _time(clean)[0]
    times: dict[str, list[float]] = {"audited": [], "control": [], "found": []}
    gc.collect()
    for _ in range(rounds):
        for arm in dice.sample(sorted(times), len(times)):
            spent, found = _time(changing if arm == "found" else clean)
            stuck = found.restore()
            assert not stuck, stuck
            assert len(found.findings) == (3 if arm == "found" else 0), found
            times[arm].append(spent)
    audited, control = times["audited"], times["control"]
    draws = sorted(statistics.median(dice.choices(audited, k=rounds)) for _ in range(1000))
    ratio = statistics.median(control) / statistics.median(audited)
    high = draws[974]
    return Figures(
        modules=len(sys.modules),
        first=first,
        audited=statistics.median(audited),
        low=draws[24],
        high=high,
        worst=max(audited),
        found=statistics.median(times["found"]),
        ratio=ratio,
        verdict=judge(high, ratio),
    )


def judge(high: float, ratio: float) -> str:
    """The verdict on a median's upper end, by what the control shows."""
    if abs(ratio - 1) > NOISE:
        return "unresolved: the control is off by more than 10%"
    return "within the budget" if high <= BUDGET_MS else f"above the budget of {BUDGET_MS} ms"


def _time(run: Callable[[], audit.Audit]) -> tuple[float, audit.Audit]:
    start = time.process_time_ns()
    found = run()
    return (time.process_time_ns() - start) / 1e6, found


def run(options: Namespace) -> dict[str, Any]:
    load_application()
    with tempfile.TemporaryDirectory(prefix="audit-") as folder:
        names = list(make_shared(Path(folder)))
        try:
            figures = measure(9 if options.quick else 201)
        finally:
            for name in (SPLINT, SHARED, *names):
                sys.modules.pop(name, None)
    print(figures)
    return asdict(figures)


def main(arguments: Sequence[str] | None = None) -> int:
    figures = result.command(result.parser("audit"), run, arguments)
    return int(figures["verdict"].startswith("above"))


if __name__ == "__main__":
    sys.exit(main())
