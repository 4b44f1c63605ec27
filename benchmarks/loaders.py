"""One process of `benchmarks.loading`: a policy, its files, and each way to load them."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Callable

_WIDTH: Final = 512
LAYER_BYTES: Final = _WIDTH * _WIDTH * 4
_MODULE: Final = f"""
import torch

class Policy(torch.nn.Module):
    def __init__(self, layers):
        super().__init__()
        width = {_WIDTH}
        make = lambda: torch.nn.Linear(width, width, bias=False)
        self.layers = torch.nn.ModuleList(make() for _ in range(layers))

    def forward(self, obs):
        for layer in self.layers:
            obs = torch.tanh(layer(obs))
        return obs
"""


def child(top: str, arm: str, layers: int, device: str) -> dict[str, float]:
    """Loads once."""
    import torch

    importlib.import_module("codevault.load")  # before the clock starts

    torch.set_num_threads(1)
    sys.path.insert(0, f"{top}/work")
    obs = torch.ones(1, _WIDTH, device=device)
    load = _loaders(top, layers)[arm]
    torch.empty(1, device=device)
    before = _memory()
    start, cpu = time.perf_counter(), time.process_time()
    policy = load()
    if policy is not None:
        policy = policy.to(device)
        pages = (p.detach().view(-1)[::1024] for p in policy.parameters())
        for page in pages:
            page.sum().item()
    loaded, spent = time.perf_counter(), time.process_time() - cpu
    after = _memory()
    if policy is not None:
        with torch.no_grad():
            policy(obs).sum().item()
    return {
        "load_cpu_ms": spent * 1e3,
        "load_ms": (loaded - start) * 1e3,
        "action_ms": (time.perf_counter() - start) * 1e3,
        "anonymous_mb": after[0] - before[0],
        "file_mb": after[1] - before[1],
    }


def _loaders(top: str, layers: int) -> dict[str, Callable[[], Any]]:
    import safetensors.torch
    import torch

    import codevault
    from codevault import weights
    from codevault.checkpoint import open_checkpoint

    def build() -> Any:
        return importlib.import_module("loading_policy").Policy(layers)

    def assigned(state: dict[str, Any]) -> Any:
        policy = uninitialised()
        policy.load_state_dict(state, assign=True)
        return policy

    def uninitialised() -> Any:
        with mock.patch.object(torch.nn.Linear, "reset_parameters"):
            return build()

    def read() -> None:
        buffer = bytearray(8 << 20)
        with open(f"{top}/policy.safetensors", "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass

    def plainly() -> Any:
        policy = build()
        policy.load_state_dict(torch.load(f"{top}/policy.pt", weights_only=True))
        return policy

    def mapped() -> Any:
        checkpoint = open_checkpoint(f"{top}/policy.mpt")
        weights.verify_digest_once(checkpoint, f"{top}/XDG_STATE_HOME/codevault/verified")
        policy = uninitialised()
        weights.assign(policy, weights.map_weights(checkpoint), where="policy.mpt", hint="")
        return policy

    pt = f"{top}/policy.pt"
    return {
        "read": read,
        "load_file": lambda: assigned(safetensors.torch.load_file(f"{top}/policy.safetensors")),
        "control": lambda: assigned(safetensors.torch.load_file(f"{top}/policy.safetensors")),
        "torch.load": plainly,
        "torch.load, mapped": lambda: assigned(torch.load(pt, weights_only=True, mmap=True)),
        "weights": mapped,
        "load_policy": lambda: codevault.load_policy(f"{top}/policy.mpt"),
        "load_policy, no probe": lambda: codevault.load_policy(f"{top}/policy.mpt", probe=False),
    }


def _memory() -> tuple[float, float]:
    """Anonymous and file-backed resident memory in MB; zeros where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    found = dict(line.split(":", 1) for line in lines)
    return tuple(int(found[key].split()[0]) / 1000 for key in ("RssAnon", "RssFile"))  # type: ignore[return-value]


def prepare(top: str, layers: int) -> None:
    """Writes the repository and the three files."""
    import safetensors.torch
    import torch

    import codevault

    work = Path(top, "work")
    work.mkdir()
    (work / "loading_policy.py").write_text(_MODULE)
    git = ["git", "-C", str(work), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "policy"]):
        subprocess.run([*git, *command], check=True)
    sys.path.insert(0, str(work))
    sys.dont_write_bytecode = True
    torch.manual_seed(0)
    policy = importlib.import_module("loading_policy").Policy(layers)
    obs = torch.ones(1, _WIDTH)
    torch.save(policy.state_dict(), f"{top}/policy.pt")
    safetensors.torch.save_file(policy.state_dict(), f"{top}/policy.safetensors")
    recipe = {"class_path": "loading_policy.Policy", "kwargs": {"layers": layers}}
    codevault.save_policy(f"{top}/policy.mpt", policy, architecture=recipe, probe=obs)
    os.sync()
