"""Compiled by inductor, old code gives what it gives in eager mode, and finds earlier kernels."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.importhook.pictures import NAME, OTHER

pytest.importorskip("torch")
from tests.importhook.test_torch import HOST, KINDS, OLD

if TYPE_CHECKING:
    from tests.importhook.conftest import Lay

TOP = Path(__file__).parents[2]
PROGRAM = """
import importlib, json, sys
from pathlib import Path
import torch
from torch._dynamo.utils import counters
import codevault_importhook as hook
import pkg.constants  # the application's
from tests.importhook.pictures import Folder

name, tree, kinds = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
files = {path.relative_to(tree).as_posix(): path.read_bytes() for path in tree.rglob("*.py")}
mount = hook.mount(name, Folder(tree, files), roots=["."], shared=["pkg.shared"])
mount.use(hook.CodePack(mount.compile(), mount.tag))
net = importlib.import_module(f"{name}.pkg.net")
x = torch.ones(3)
for kind in kinds:
    lazy = net.Lazy(kind)
    assert torch.equal(torch.compile(lazy, fullgraph=True)(x), lazy(x)), kind
    assert lazy(x).tolist() == [3.0] * 3, kind
model, batch = net.Net(), torch.ones(2, 4)
compiled = torch.compile(model, fullgraph=True)
torch.testing.assert_close(compiled(batch), model(batch))
compiled(batch).sum().backward()
torch.testing.assert_close(model.layer.bias.grad, torch.full((2,), 2 * 27.0))
found = counters["inductor"]
print(json.dumps([found["fxgraph_cache_miss"], found["fxgraph_cache_hit"]]))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_own_or_fail_inductor_and_its_cache_under_another_name(lay: Lay, tmp_path: Path) -> None:
    """The kernels of equal code are found again under the name of another commit."""
    host, old = lay(HOST).top, lay(OLD).top

    def run(name: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, name, str(old), *KINDS],
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": f"{host}{os.pathsep}{TOP}",
                "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "kernels"),
            },
            timeout=600,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout)

    misses, hits = run(NAME)
    assert misses > 0
    assert run(OTHER) == [0, misses + hits]
