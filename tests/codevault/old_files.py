"""A project whose old files are not codevault's, and how each form of file is written."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from click.testing import CliRunner

from codevault.cli import main

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROJECT: dict[str, str | bytes | None] = {
    "agent/src/gait/__init__.py": "",
    "agent/src/gait/config.py": """
        import ast
        from typing import ClassVar
        from pydantic import BaseModel
        from gait.nets import Net

        class Part(BaseModel):
            width: int = 8

        class Wide(Part):
            factor: int = 2

        class Config(BaseModel):
            class_path: str = "gait.nets.Net"
            parts: list[Part] = [Part()]
            scale: float = 1.0

            def make_policy(self, info):
                return Net(info.inputs, [part.width for part in self.parts], self.scale)

            def spec(self):
                parts = [p.model_dump() | {"class_path": f"gait.config.{type(p).__name__}"}
                         for p in self.parts]
                return f"gait.config.{type(self).__name__}(parts={parts!r}, scale={self.scale!r})"

        class Later(Config):
            @classmethod
            def from_spec(cls, spec):
                call = ast.parse(spec, mode="eval").body
                said = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
                return cls(parts=[Wide(width=p["width"]) for p in said["parts"]],
                           scale=said["scale"])
    """,
    "agent/src/gait/info.py": """
        from pydantic import BaseModel

        class Info(BaseModel):
            inputs: int = 4
    """,
    "agent/src/gait/nets.py": """
        import torch

        class Net(torch.nn.Module):
            def __init__(self, inputs, widths=(8,), scale=1.0):
                super().__init__()
                self.inputs, self.widths, self.scale = inputs, list(widths), scale
                sizes = [inputs, *widths]
                self.body = torch.nn.Sequential(
                    *(torch.nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
                )
                self.head = torch.nn.Linear(sizes[-1], 2)

            def forward(self, obs):
                return self.scale * self.head(torch.tanh(self.body(obs)))

        def touch(path):
            open(path, "w").close()

        class Actor(Net):
            def __init__(self, inputs=4):
                super().__init__(inputs)

            def forward(self):
                raise NotImplementedError

            def act_inference(self, obs):
                return super().forward(obs)

        class Act(Net):
            def __init__(self, inputs=4, act=torch.tanh):
                super().__init__(inputs)
                self.act = act

            def forward(self, obs):
                return self.head(self.act(self.body(obs)))

        class Quiet(Net):
            def __init__(self, inputs=4, doubled=False):
                super().__init__(inputs)
                self.factor = 2.0 if doubled else 1.0

            def forward(self, obs):
                return self.factor * self.head(self.body(obs))

        class Needs(Net):
            def __init__(self, size):
                super().__init__(size)

        class Wrapped(Net):
            def __init__(self, policy_env_info, width=8, device="cpu"):
                super().__init__(policy_env_info.inputs, [width])
    """,
}
ROOTS = ("--roots", "agent/src")


def run(*words: Any, code: int = 0) -> Any:
    """Runs `codevault convert` with these words, and expects that exit code."""
    result = CliRunner().invoke(main, ["convert", *map(str, words)])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def safe(state: Mapping[str, torch.Tensor]) -> bytes:
    data: bytes = safetensors.torch.save({k: v.contiguous() for k, v in state.items()})
    return data


def torch_bytes(thing: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(thing, buffer, **options)
    return buffer.getvalue()


def zipped(path: Path, members: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return path


def metta(path: Path, spec: str, state: Mapping[str, torch.Tensor]) -> Path:
    return zipped(path, {"weights.safetensors": safe(state), "modelarchitecture.txt": spec})


def bundle(folder: Path, state: Mapping[str, torch.Tensor], **said: Any) -> Path:
    folder.mkdir()
    spec = {"data_path": "weights.safetensors", "init_kwargs": {}, "setup_script": None} | said
    (folder / "policy_spec.json").write_text(json.dumps(spec))
    (folder / "weights.safetensors").write_bytes(safe(state))
    return folder
