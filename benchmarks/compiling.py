"""`torch.compile` of many versions in one process, against torch's limit of recompilations.

    python -m benchmarks.compiling [--quick] [--json FILE]

Each commit changes a constant beside the policy's module, which is the same file in all of them:
a cache that handed out one code object for it would let torch compile the first few versions, and
run the others uncompiled without an error. The arm *shared* does that with torch alone. Fresh
processes load 1, 10, 100 or 300 versions and compile each by dynamo's own `eager` backend, which
is called once a graph; outputs are compared with the uncompiled policy's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import result
from benchmarks.import_snapshot import HERE

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Sequence

COUNTS: Final = (1, 10, 100, 300)
QUICK: Final = (1, 10)
ARMS: Final = ("codevault", "shared")
_NET: Final = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, obs):
        from versioned.scale import SCALE
        return torch.relu(self.layer(obs)) * SCALE
"""


def child(arm: str, repo: str, commits: Sequence[str]) -> dict[str, float]:
    """Compiles and runs each version once.

    Returns:
        How many graphs were compiled, how many outputs differ from those of the uncompiled policy,
        and CPU milliseconds of all first calls.
    """
    import torch

    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward  # type: ignore[no-any-return]

    obs = torch.ones(2, 4)
    first: Any = torch.compile(torch.nn.Linear(4, 4), backend="eager")
    first(obs)  # what torch needs once
    wrong, spent = 0, 0.0
    for net in (_isolated if arm == "codevault" else _sharing)(repo, commits):
        policy = net()
        compiled: Any = torch.compile(policy, backend=backend)
        start = time.process_time()
        out = compiled(obs)
        spent += (time.process_time() - start) * 1e3
        wrong += not torch.equal(out, policy(obs))
    return {"graphs": len(graphs), "wrong": wrong, "cpu_ms": spent}


def _isolated(repo: str, commits: Sequence[str]) -> Iterator[Any]:
    import codevault

    for commit in commits:
        yield codevault.load_code(repo, commit).load_symbol("versioned.net.Net")


def _sharing(repo: str, commits: Sequence[str]) -> Iterator[Any]:
    """Modules that run one code object, beside a constant of their own."""
    code = compile(_NET.replace("from versioned.scale import SCALE", ""), "net.py", "exec")
    for number in range(len(commits)):
        module = types.ModuleType("net")
        module.SCALE = float(number)  # type: ignore[attr-defined]
        exec(code, vars(module))
        yield module.Net


def compare(counts: Sequence[int]) -> dict[str, Any]:
    """A row for each count and arm."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="compiling-") as top:
        repo = Path(top, "repo")
        commits = _write(repo, max(counts))
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        places = ("CODEVAULT_CACHE", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
        env |= {name: str(Path(top, name)) for name in places}
        for count in counts:
            for arm in ARMS:
                command = [sys.executable, "-c", _CHILD.format(here=str(HERE)), arm, str(repo)]
                done = subprocess.run(
                    [*command, *commits[:count]], env=env, check=True, capture_output=True, cwd=top
                )
                found = json.loads(done.stdout)
                each = round(found.pop("cpu_ms") / count, 1)
                rows.append({"versions": count, "arm": arm, **found, "cpu_ms_each": each})
        subprocess.run(["chmod", "-R", "u+w", top], check=True)
    return {"rows": rows}


def _write(repo: Path, commits: int) -> list[str]:
    """A repository of so many commits, each with another constant; oldest first."""
    stream: list[bytes] = []
    for number in range(commits):
        files = {"scale": f"SCALE = {number}.0\n"}
        if not number:
            files |= {"__init__": "", "net": _NET}
        head = f"commit refs/heads/main\ncommitter A <a@b> {1_700_000_000 + number} +0000\n"
        stream.append(head.encode() + b"data 1\nx\n")
        for name, text in files.items():
            data = f"data {len(text)}\n{text}\n"
            stream.append(f"M 100644 inline versioned/{name}.py\n{data}".encode())
    git = ["git", "-C", str(repo)]
    subprocess.run(["git", "init", "-q", "-b", "main", str(repo)], check=True)
    subprocess.run([*git, "fast-import", "--quiet"], input=b"".join(stream), check=True)
    listed = [*git, "rev-list", "--reverse", "main"]
    return subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()


_CHILD: Final = """
import json, logging, sys
logging.getLogger("torch._dynamo").setLevel(logging.ERROR)  # it warns of its limit
sys.path[:0] = [{here!r}, {here!r} + "/importhook", {here!r} + "/cache"]
from benchmarks.compiling import child
print(json.dumps(child(sys.argv[1], sys.argv[2], sys.argv[3:])))
"""


def measure(options: Namespace) -> dict[str, Any]:
    return compare(QUICK if options.quick else COUNTS)


def missed(row: dict[str, Any]) -> bool:
    """Whether a version ran uncompiled, was compiled twice, or gave another output."""
    found = (row["graphs"], row["wrong"])
    return row["arm"] == "codevault" and found != (row["versions"], 0)


def main() -> int:
    figures = result.command(result.parser("compiling"), measure)
    return int(any(map(missed, figures["rows"])))


if __name__ == "__main__":
    sys.exit(main())
