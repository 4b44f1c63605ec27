"""How often a probe cries wolf, and how often it misses: counted over real policies.

Probes are recorded once. *False alarms*: a fresh process loads the same weights and replays them
under other conditions (threads, kernels, memory layouts, what the application has switched on,
other torch releases, CUDA if there is one); each replay must pass. *Misses*: a fault is planted
into a policy that was loaded the same way; each replay must fail. The file and the page are written
only by a whole run.

Run from the repository's root:

    python -m benchmarks.probe_alarms [--seeds 5] [--interpreter "CMD"]...

An interpreter is a command that runs another Python with another torch, with codevault and this
folder on its path.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from benchmarks.probe_cases import WIDE, WIDE_ONLY, Case, cases
from codevault import probe as probes
from codevault import probefile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOP: Final = Path(__file__).parents[1]
RESULTS: Final = TOP / "benchmarks/probe_alarms.json"
BATCHES: Final = (1, 64)
AVX2: Final = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
SSE: Final = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
MKL: Final = "MKL_ENABLE_INSTRUCTIONS"
CONDITIONS: Final[dict[str, dict[str, str]]] = {
    "nothing changed": {},
    "1 thread": {},
    "8 threads": {},
    "kernels of an AVX2 machine": {**AVX2, MKL: "AVX2"},
    "kernels of an SSE machine": {**SSE, MKL: "SSE4_2"},
    "without oneDNN": {},
    "weights in another memory layout": {},
    "the application rounds: autocast, TF32, bfloat16 products": {},
    "the application defaults to float64": {},
}
"""What may differ between a save and a load, with the environment that makes it so."""
CUDA: Final = "on a CUDA device"


def record(folder: Path, seeds: int, chosen: Sequence[Case]) -> list[dict[str, Any]]:
    """Records probes into files; a row for each says what is in them."""
    rows: list[dict[str, Any]] = []
    for case in chosen:
        for dtype in case.dtypes:
            for batch in BATCHES:
                for seed in range(seeds):
                    torch.manual_seed(seed)
                    policy = case.make().to(getattr(torch, dtype))
                    generator = torch.Generator().manual_seed(1000 + seed)
                    seen = [case.observe(batch, generator) for _ in range(case.steps)]
                    seen = [_as(obs, getattr(torch, dtype)) for obs in seen]
                    name = f"{len(rows)}"
                    (folder / f"{name}.probe").write_bytes(
                        probefile.to_bytes(probes.record(policy, seen))
                    )
                    torch.save(policy.state_dict(), folder / f"{name}.pt")
                    rows.append({"case": case.name, "dtype": dtype, "batch": batch, "name": name})
    (folder / "rows.json").write_text(json.dumps(rows))
    return rows


def _as(obs: Any, dtype: torch.dtype) -> Any:
    floats = isinstance(obs, torch.Tensor) and obs.is_floating_point()
    return obs.to(dtype) if floats else obs


def loaded(folder: Path, row: dict[str, Any], case: Case) -> Any:
    """The policy of a row, as a load leaves it."""
    torch.manual_seed(99)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)  # how policies are built is not asked here
    policy = case.make().to(getattr(torch, row["dtype"]))
    torch.set_default_dtype(default)
    policy.load_state_dict(torch.load(folder / f"{row['name']}.pt", weights_only=True))
    return policy


def outcome(policy: Any, folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    """What a replay found: whether it passed, and the largest difference over its tolerance."""
    recorded = probefile.from_bytes((folder / f"{row['name']}.probe").read_bytes())
    try:
        found = probes.replay(policy, recorded)
    except Exception as error:
        text = f"{type(error).__name__}: {error}".partition("\n")[0]
        return {**row, "ok": False, "ratio": math.inf, "faults": [text[:120]]}
    ratio = found.difference / found.tolerance if found.tolerance else 0.0
    return {**row, "ok": found.ok, "ratio": ratio, "faults": list(found.faults[:2])}


def under(condition: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Replays all probes in this process, under one condition."""
    known = {case.name: case for case in cases()}
    rows = json.loads((folder / "rows.json").read_text())
    with ExitStack() as stack:
        _enter(condition, stack)
        for row in rows:
            if row["case"] in known:
                policy = loaded(folder, row, known[row["case"]])
                if condition == CUDA:
                    policy = policy.cuda()
                if "layout" in condition:
                    _scatter(policy)
                yield outcome(policy, folder, row)


def _enter(condition: str, stack: ExitStack) -> None:
    if condition.endswith(("thread", "threads")):
        torch.set_num_threads(int(condition.partition(" ")[0]))
    elif condition == "without oneDNN":
        stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
    elif "rounds" in condition:
        torch.set_float32_matmul_precision("medium")
        stack.enter_context(torch.autocast("cpu", dtype=torch.bfloat16))
    elif "float64" in condition:
        torch.set_default_dtype(torch.float64)


def _scatter(policy: Any) -> None:
    """Pictures' weights as channels last; matrices as transposed views of others."""
    for parameter in policy.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        elif parameter.ndim == 2 and not isinstance(policy, torch.nn.RNNBase):
            parameter.data = parameter.data.t().contiguous().t()


def planted(folder: Path, rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Plants each fault into each policy, and replays its probe."""
    known = {case.name: case for case in cases()}
    for row in rows:
        for fault, plant in known[row["case"]].faults.items():
            if fault in WIDE_ONLY and row["dtype"] not in WIDE:
                continue
            policy = loaded(folder, row, known[row["case"]])
            plant(policy)
            yield {**outcome(policy, folder, row), "fault": fault}


def asked(folder: Path, condition: str, command: Sequence[str]) -> list[dict[str, Any]]:
    """Has another process replay the probes."""
    line = [*command, "-m", "benchmarks.probe_alarms", "--replay", str(folder), condition]
    environment = {**os.environ, **CONDITIONS.get(condition, {})}
    done = subprocess.run(line, cwd=TOP, env=environment, check=True, capture_output=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def measure(seeds: int, commands: Sequence[str], chosen: Sequence[Case]) -> dict[str, Any]:
    """Everything that the page shows."""
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top)
        rows = record(folder, seeds, chosen)
        alarms = {}
        for condition in CONDITIONS:
            alarms[condition] = asked(folder, condition, [sys.executable])
        for command in commands:
            words = shlex.split(command)
            tell = "import torch, platform as p; print(torch.__version__, p.python_version())"
            told = subprocess.run([*words, "-c", tell], check=True, capture_output=True, text=True)
            release, python = told.stdout.split()
            name = f"torch {release} on Python {python}"
            alarms[name] = asked(folder, name, words)
        cuda = torch.cuda.is_available()
        if cuda:
            alarms[CUDA] = asked(folder, CUDA, [sys.executable])
        return {
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "threads": torch.get_num_threads(),
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "cuda": torch.cuda.get_device_name() if cuda else None,
            "seeds": seeds,
            "probes": len(rows),
            "alarms": alarms,
            "planted": list(planted(folder, rows)),
        }


def main(arguments: Sequence[str] | None = None) -> int:
    from benchmarks.probe_page import PAGE, page, short

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--interpreter", action="append", default=[], metavar="CMD")
    parser.add_argument("--replay", nargs=2, metavar=("FOLDER", "CONDITION"))
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    if options.replay:
        folder, condition = options.replay
        print(json.dumps(list(under(condition, Path(folder)))))
        return 0
    results = short(measure(options.seeds, options.interpreter, cases()))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    PAGE.write_text(page(results))
    print(page(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
