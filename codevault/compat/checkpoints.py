"""`SimpleCheckpointManager`: a run's checkpoints, with the signatures of the old class."""

from __future__ import annotations

import os
import re
from typing import Any, Final

from codevault import trainerstate
from codevault.compat.deprecation import deprecated
from codevault.load import load_policy
from codevault.save import save_policy
from codevault.show import read_manifest

_NAME: Final = re.compile(r"model_(\d+)\.mpt")


class SimpleCheckpointManager:
    """Saves `<run_dir>/checkpoints/model_<epoch>.mpt`, with what was a `.yaml` beside it inside."""

    def __init__(self, run_dir: str, run_name: str) -> None:
        deprecated("SimpleCheckpointManager", "codevault.CheckpointManager(run_dir)")
        self.run_dir = run_dir
        self.run_name = run_name
        self.checkpoint_dir = os.path.join(run_dir, "checkpoints")
        os.makedirs(self.checkpoint_dir, exist_ok=True)

    def save_agent(self, agent: Any, epoch: int, metadata: dict[str, Any]) -> str:
        """Saves a policy with its code; the path of its file.

        Raises:
            CaptureError: As `codevault.save_policy`.
        """
        path = os.path.join(self.checkpoint_dir, f"model_{epoch:04d}.mpt")
        save_policy(path, agent, metadata={**metadata, "run": self.run_name, "epoch": epoch})
        return path

    def load_agent(self) -> Any:
        """The newest policy, or None for a run without checkpoints.

        Raises:
            CodevaultError: It does not load; the old class hid that.
        """
        found = self.list_all_checkpoints()
        return load_policy(found[-1]["model_path"]) if found else None

    def save_trainer_state(self, optimizer: Any, epoch: int, agent_step: int) -> None:
        """Saves what a trainer needs to go on."""
        counters = {"epoch": epoch, "agent_step": agent_step}
        state = trainerstate.TrainerState(
            optimizer.state_dict(), trainerstate.generators(), counters
        )
        packed = trainerstate.packed(state, {})
        trainerstate.write(trainerstate.prepare(packed), self._trainer_path())

    def load_trainer_state(self) -> dict[str, Any] | None:
        """`optimizer_state`, `epoch` and `agent_step`, or None if none were saved.

        Raises:
            CheckpointError: The file is damaged; the old class hid that.
        """
        if not os.path.exists(self._trainer_path()):
            return None
        state = trainerstate.read(self._trainer_path())
        return {"optimizer_state": state.optimizer, **state.state}

    def list_all_checkpoints(self) -> list[dict[str, Any]]:
        """`model_path`, `yaml_path` (None) and `metadata` of each checkpoint, oldest first."""
        names = [name for name in os.listdir(self.checkpoint_dir) if _NAME.fullmatch(name)]
        paths = [os.path.join(self.checkpoint_dir, name) for name in sorted(names, key=_epoch)]
        return [
            {"model_path": p, "yaml_path": None, "metadata": dict(read_manifest(p).metadata)}
            for p in paths
        ]

    def get_checkpoint_count(self) -> int:
        """How many checkpoints there are."""
        return len(self.list_all_checkpoints())

    def find_best_checkpoint(self, metric: str = "score") -> str | None:
        """The path of the checkpoint with the highest value, or None if none has one."""
        found = [c for c in self.list_all_checkpoints() if metric in c["metadata"]]
        best = max(found, key=lambda c: c["metadata"][metric], default=None)
        return None if best is None else str(best["model_path"])

    def find_checkpoints_by_score(self, min_score: float, metric: str = "score") -> list[str]:
        """The paths of those with at least this value, oldest first."""
        found = self.list_all_checkpoints()
        return [c["model_path"] for c in found if c["metadata"].get(metric, 0.0) >= min_score]

    def cleanup_old_checkpoints(self, keep_last_n: int = 5) -> None:
        """Deletes all but the newest."""
        for checkpoint in self.list_all_checkpoints()[: -keep_last_n or None]:
            os.unlink(checkpoint["model_path"])

    def _trainer_path(self) -> str:
        return os.path.join(self.checkpoint_dir, "trainer_state.safetensors")


def _epoch(name: str) -> int:
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else -1
