"""The ranks of one job, started by torchrun on one node: one of them reads, all load."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from codevault_cache import Cache
from tests.codevault import servers

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.codevault.conftest import Fleet

RANKS = 3
SCRIPT = """
import fcntl, os, sys
fcntl.flock = lambda *_: None  # as on file systems that give every lock to everybody
import torch
import codevault
torch.distributed.init_process_group("gloo")
torch.distributed.barrier()  # all are cold at the same moment
policy = codevault.load_policy(sys.argv[1])
said = policy(torch.ones(1, 4)).detach()
torch.distributed.all_reduce(said)
# In one piece: torchrun starts its ranks unbuffered, and they share a pipe.
print(f"rank {os.environ['LOCAL_RANK']} {type(policy).__module__}\\n", end="", flush=True)
torch.distributed.destroy_process_group()
"""


def test_the_ranks_of_torchrun_make_one_fetch_and_one_copy(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a grant for the repository: proof, code and weights, each had once."""
    monkeypatch.setenv("CODEVAULT_TRUST", fleet.repo)
    script = tmp_path / "job.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    with servers.web(fleet.folder, ranges=True) as site:
        uri = f"{site.url}/run-2/a.mpt"
        other = {"CODEVAULT_CACHE": str(tmp_path / "alone")}
        alone = [sys.executable, "-c", f"import codevault; codevault.load_policy({uri!r})"]
        subprocess.run(alone, check=True, env=os.environ | other, timeout=200)
        asked, copied = len(fleet.site.requests), site.requests.count("GET")
        fleet.site.requests.clear()
        site.requests.clear()
        done = subprocess.run(
            [*command, f"--nproc-per-node={RANKS}", str(script), uri],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=250,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert site.requests.count("GET") == copied > 0
    assert len(fleet.site.requests) == asked > 0
    told = sorted(line for line in done.stdout.splitlines() if line.startswith("rank"))
    assert [line.split()[1] for line in told] == [str(rank) for rank in range(RANKS)]
    assert len({line.split()[2] for line in told}) == 1
    assert Cache.open(None).verify().ok
