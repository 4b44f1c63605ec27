"""A stranger's checkpoint cannot call shared what it wants to have called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

import codevault
from codevault.errors import CodeError

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_strangers_checkpoint_calls_shared_does_not_count(
    walker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, hostile = walker.net.Walker(), tmp_path / "hostile.mpt"
    architecture = {"class_path": "walker.net:Walker", "kwargs": {"act": torch.nn.functional.relu}}
    with monkeypatch.context() as other:
        other.setenv("XDG_STATE_HOME", str(tmp_path / "somebody-else"))
        codevault.save_policy(
            hostile, policy, architecture=architecture, shared=["torch"], probe=torch.ones(1, 4)
        )
    with pytest.raises(CodeError, match="is not a module of"):
        codevault.migrate(hostile, to=walker.top)
