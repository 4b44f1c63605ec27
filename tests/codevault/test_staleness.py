"""A work tree that is edited while the policy trains."""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from _pytest.assertion.rewrite import AssertionRewritingHook

import codevault
from codevault.errors import CodeChangedWarning

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """import functools
import torch
from walker.scale import SCALE

def twice(function):
    @functools.wraps(function)
    def wrapper(*args):
        return 2 * function(*args)
    return wrapper

class Walker(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Linear(4, 8)

    @property
    def size(self):
        return 8

    @staticmethod
    def fixed(x):
        return x + 0

    @torch.no_grad()
    def frozen(self, x):
        return x * 1

    @twice
    def forward(self, obs):
        return SCALE * self.body(obs)
"""


@pytest.fixture
def edited(walker: Any) -> Any:
    """The walker with many kinds of functions, committed and imported anew."""
    walker.commit({"src/walker/net.py": SOURCE})
    walker.net = walker.load("walker.net")
    return walker


def save(path: Path, policy: Any) -> Any:
    return codevault.save_policy(path / "best.mpt", policy, probe=torch.ones(1, 4))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE * self.body", "0 * self.body"),
        ("return 8", "return 9"),
        ("x + 0", "x + 1"),
        ("x * 1", "x * 2"),
        ("2 * function", "3 * function"),
        ("Linear(4, 8)", "Linear(4, 16)"),
    ],
)
def test_edited_function_is_a_warning_and_nothing_is_lost(
    old: str, new: str, edited: Any, tmp_path: Path
) -> None:
    policy = edited.net.Walker()
    assert old in SOURCE
    edited.write({"src/walker/net.py": SOURCE.replace(old, new)})
    with pytest.warns(CodeChangedWarning, match=r"walker\.net"):
        save(tmp_path, policy)
    assert (tmp_path / "best.mpt").exists()


@pytest.mark.parametrize("content", ["def broken(:", "x = '\0'"])
def test_unreadable_edit_is_a_warning_too(content: str, edited: Any, tmp_path: Path) -> None:
    policy = edited.net.Walker()
    edited.write({"src/walker/net.py": content})
    with pytest.warns(CodeChangedWarning, match=r"walker\.net"):
        save(tmp_path, policy)


def test_deleted_module_is_a_warning_too(edited: Any, tmp_path: Path) -> None:
    policy = edited.net.Walker()
    edited.write({"src/walker/scale.py": None})
    with pytest.warns(CodeChangedWarning, match=r"walker\.scale"):
        save(tmp_path, policy)


def test_what_a_loader_rewrites_is_no_edit(
    edited: Any, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """As pytest does with the asserts of test modules, where policies are made as well."""
    text = SOURCE.replace("return 8", "assert self.body\n        return 8")
    edited.write({"src/walker/net.py": text})
    spec: Any = importlib.util.find_spec("walker.net")
    spec.loader = AssertionRewritingHook(pytestconfig)
    net = importlib.util.module_from_spec(spec)
    sys.modules["walker.net"] = net
    spec.loader.exec_module(net)
    os.utime(edited.top / "src/walker/net.py")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save(tmp_path, net.Walker())


def test_comments_and_reimported_modules_are_no_edits(edited: Any, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy = edited.net.Walker()
        os.utime(edited.top / "src/walker/net.py")
        save(tmp_path, policy)
        edited.write({"src/walker/net.py": "# a comment\n\n" + SOURCE.replace("x * 1", "x  *  1")})
        save(tmp_path, policy)
        edited.write({"src/walker/net.py": SOURCE.replace("x + 0", "x + 5")})
        save(tmp_path, edited.load("walker.net").Walker())
