"""A work tree that is edited while the policy trains."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch

import codevault
from codevault.errors import CodeChangedWarning

if TYPE_CHECKING:
    from pathlib import Path

EDITED = """
    import torch
    from walker.scale import SCALE

    class Walker(torch.nn.Module):
        def __init__(self, inputs=4, actions=2, act=torch.tanh):
            super().__init__()
            self.body = torch.nn.Linear(inputs, 8)
            self.head = torch.nn.Linear(8, actions)
            self.act = act

        def forward(self, obs):
            return 0 * self.head(self.act(self.body(obs)))
"""


def save(path: Path, policy: Any) -> Any:
    return codevault.save_policy(path / "best.mpt", policy, probe=torch.ones(1, 4))


def test_edited_module_is_a_warning_and_nothing_is_lost(walker: Any, tmp_path: Path) -> None:
    policy = walker.net.Walker()
    walker.write({"src/walker/net.py": EDITED})
    with pytest.warns(CodeChangedWarning, match=r"walker\.net"):
        save(tmp_path, policy)
    assert (tmp_path / "best.mpt").exists()


def test_unreadable_edit_is_a_warning_too(walker: Any, tmp_path: Path) -> None:
    policy = walker.net.Walker()
    walker.write({"src/walker/net.py": "def broken(:"})
    with pytest.warns(CodeChangedWarning, match=r"walker\.net"):
        save(tmp_path, policy)


def test_touched_comment_free_and_reimported_modules_are_not_edited(
    walker: Any, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy = walker.net.Walker()
        os.utime(walker.top / "src/walker/net.py")
        save(tmp_path, policy)
        walker.write({"src/walker/net.py": EDITED})
        save(tmp_path, walker.load("walker.net").Walker())
