"""[once] threads that load the same and different snapshots at once get whole modules."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
import torch

import codevault

if TYPE_CHECKING:
    from pathlib import Path

CIRCULAR = {
    "src/walker/left.py": "import walker.right\nVALUE = {n}\ndef both():\n"
    "    return VALUE, walker.right.VALUE, walker.right.left()\n",
    "src/walker/right.py": "from walker import left as other\nVALUE = {n}\ndef left():\n"
    "    return other.VALUE\n",
    "src/walker/scale.py": "SCALE = {n}.0\n",
    "src/walker/net.py": """
        import torch
        import walker.left
        from walker.scale import SCALE

        class Walker(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.body = torch.nn.Linear(2, 2)
            def forward(self, obs):
                return torch.tensor([SCALE, *walker.left.both()])
    """,
}
VERSIONS = (1, 2, 3)


@pytest.fixture
def checkpoints(walker: Any, tmp_path: Path) -> list[tuple[Path, torch.Tensor]]:
    """Three versions, each with circular imports, and what each one's policy gives."""
    found = []
    for n in VERSIONS:
        files = {path: text.replace("{n}", str(n)) for path, text in CIRCULAR.items()}
        walker.commit(files)
        policy = walker.load("walker.net").Walker()
        path = tmp_path / f"{n}.mpt"
        codevault.save_policy(path, policy, probe=torch.ones(1, 2))
        found.append((path, policy(torch.ones(1, 2))))
    return found


def one_round(checkpoints: list[tuple[Path, torch.Tensor]]) -> None:
    start = threading.Barrier(8)
    faults: list[object] = []
    splints: dict[str, Any] = {}
    others: list[Any] = []

    def work(n: int) -> None:
        path, expected = checkpoints[n % len(checkpoints)]
        try:
            start.wait(60)
            policy = codevault.load_policy(path)
            if not torch.equal(policy(torch.ones(1, 2)), expected):
                faults.append(f"{path} gave {policy(torch.ones(1, 2))}")
            splint = codevault.provenance(policy).splint
            assert splint is not None
            if splints.setdefault(splint.name, splint) is not splint:
                others.append(splint)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert faults == []
    assert len(splints) == len(checkpoints)
    assert others == []
    for splint in splints.values():
        splint.unload()


def test_once_threads_get_whole_modules(checkpoints: list[tuple[Path, torch.Tensor]]) -> None:
    for _ in range(10):
        one_round(checkpoints)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_once_threads_get_whole_modules_200_times(
    checkpoints: list[tuple[Path, torch.Tensor]],
) -> None:
    for _ in range(200):
        one_round(checkpoints)
