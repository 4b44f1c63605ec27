"""Writes the golden checkpoints of the present format: once for each format that is released.

    python -m tests.codevault.golden.make FOLDER

A golden file is never written again: it must load for ever. Each carries its code, so that it needs
nothing else, and the outputs it must give are in its probe and in `expected.json`.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import codevault

NET = """
import torch
from gold.parts import Body, scale


class Policy(torch.nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.body = Body(width)
        self.head = torch.nn.Linear(width, 2)
        self.tied = self.head
        self.register_buffer("steps", torch.tensor(3))
        self.register_buffer("bf16", torch.ones(2, dtype=torch.bfloat16))
        self.register_buffer("empty", torch.empty(0, 3))

    def forward(self, obs):
        return scale(self.head(self.body(obs)), self.steps)


class Recurrent(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = torch.nn.GRUCell(4, 2)
        self.memory = None

    def forward(self, obs):
        self.memory = self.cell(obs, self.memory)
        return {"actions": self.memory.argmax(-1), "logits": self.memory}
"""
PARTS = """
import torch

FACTOR = 0.5


def scale(x, steps):
    return x * FACTOR * steps


class Body(torch.nn.Sequential):
    def __init__(self, width):
        super().__init__(torch.nn.Linear(4, width), torch.nn.Tanh())
"""
FILES = {"gold/__init__.py": "", "gold/net.py": NET, "gold/parts.py": PARTS}
OBS = torch.linspace(-1, 1, 8).reshape(2, 4)


def main(folder: str) -> None:
    """Writes the files into `folder`, which must be new."""
    out = Path(folder)
    out.mkdir(parents=True)
    os.environ["SOURCE_DATE_EPOCH"] = "1767225600"
    with tempfile.TemporaryDirectory() as top:
        for name in ("CODEVAULT_CACHE", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            os.environ[name] = str(Path(top, name))
        repo = Path(top, "repo")
        for path, text in FILES.items():
            (repo / path).parent.mkdir(parents=True, exist_ok=True)
            (repo / path).write_text(text)
        git = ["git", "-C", str(repo), "-c", "user.name=A", "-c", "user.email=a@example.org"]
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
            subprocess.run([*git, *command], check=True)
        sys.path.insert(0, str(repo))
        net = importlib.import_module("gold.net")
        torch.manual_seed(0)
        saved: dict[str, tuple[torch.nn.Module, dict[str, object]]] = {
            "plain": (net.Policy(), {"architecture": {"class_path": net.Policy}, "probe": OBS}),
            "arguments": (
                net.Policy(6),
                {
                    "architecture": {"class_path": "gold.net:Policy", "kwargs": {"width": 6}},
                    "probe": OBS,
                    "metadata": {"epoch": 3, "scores": [0.5, None, "ü"]},
                },
            ),
            "recurrent": (net.Recurrent(), {"probe": OBS}),
            "no-probe": (net.Policy(), {}),
        }
        expected = {}
        for name, (policy, options) in saved.items():
            _save(out / f"{name}.mpt", policy, options)
            expected[name] = _outputs(policy)
        # Uncommitted changes travel as objects. The module is as before: nothing notices.
        (repo / "gold/parts.py").write_text(PARTS + "\n# not committed\n")
        (repo / "gold/more.py").write_text("ANSWER = 42\n")
        importlib.reload(sys.modules["gold.parts"])
        net = importlib.reload(net)
        policy = net.Policy()
        _save(out / "uncommitted.mpt", policy, {"probe": OBS})
        expected["uncommitted"] = _outputs(policy)
    (out / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def _save(path: Path, policy: torch.nn.Module, options: dict[str, object]) -> None:
    codevault.save_policy(path, policy, embed=True, **options)  # type: ignore[arg-type]


def _outputs(policy: torch.nn.Module) -> list[list[float]]:
    found = policy.eval()(OBS)
    values: list[list[float]] = (found["logits"] if isinstance(found, dict) else found).tolist()
    return values


if __name__ == "__main__":
    main(sys.argv[1])
