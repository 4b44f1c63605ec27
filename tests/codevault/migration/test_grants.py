"""What is called in the newer code is the checkpoint's choice, so a stranger's needs a grant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

import codevault
from codevault.errors import CodeError, RefusedError
from tests.codevault.conftest import WALKER

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def hostile(walker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stranger's checkpoint that calls torch shared."""
    policy, path = walker.net.Walker(), tmp_path / "hostile.mpt"
    architecture = {"class_path": "walker.net:Walker", "kwargs": {"act": torch.nn.functional.relu}}
    with monkeypatch.context() as other:
        other.setenv("XDG_STATE_HOME", str(tmp_path / "somebody-else"))
        codevault.save_policy(
            path, policy, architecture=architecture, shared=["torch"], probe=torch.ones(1, 4)
        )
    return path


@pytest.mark.parametrize("move", [codevault.migrate, codevault.suggest_rules])
def test_nothing_of_the_newer_code_is_called_without_a_grant(
    walker: Any, hostile: Path, move: Any
) -> None:
    mark = walker.top / "mark"
    net = str(WALKER["src/walker/net.py"]).replace("import torch\n", f"open({str(mark)!r}, 'w')\n")
    walker.write({"src/walker/net.py": net})
    with pytest.raises(RefusedError, match="may not choose what runs in the newer code") as caught:
        move(hostile, to=walker.top)
    assert not mark.exists()
    digest = codevault.read_manifest(hostile).checkpoint_digest
    assert caught.value.hint == f"codevault trust add sha256:{digest}"


def test_a_grant_for_the_repository_covers_its_commits_and_not_the_folder(
    fleet: Any, walker: Any
) -> None:
    (path,) = fleet.named(3)
    trust = [fleet.repo]
    done = codevault.migrate(path, to=f"{fleet.repo}@{fleet.commits[3]}", trust=trust)
    assert done.drift == ""
    for to in (walker.top, None):
        with pytest.raises(RefusedError, match=r"may not choose what runs|on no branch or tag"):
            codevault.migrate(path, to=to or f"{walker.top}@{walker.commit()}", trust=trust)
    own = f"sha256:{codevault.read_manifest(path).checkpoint_digest}"
    assert codevault.migrate(path, to=walker.top, trust=[own]).drift == ""


def test_what_a_strangers_checkpoint_calls_shared_does_not_count(
    fleet: Any, walker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its architecture could name functions of any installed package."""
    path = tmp_path / "hostile.mpt"
    given = {"class_path": "walker.net:Walker", "kwargs": {"act": torch.nn.functional.relu}}
    with monkeypatch.context() as other:
        other.setenv("XDG_STATE_HOME", str(tmp_path / "somebody-else"))
        policy = walker.load("walker.net").Walker()
        codevault.save_policy(
            path, policy, architecture=given, shared=["torch"], probe=torch.ones(1, 4)
        )
    to = f"{fleet.repo}@{fleet.commits[3]}"
    with pytest.raises(CodeError, match="is not a module of"):
        codevault.migrate(path, to=to, trust=[fleet.repo])
