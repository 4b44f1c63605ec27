"""What a work tree states of itself: a mistake there is told, rather than taken for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import codevault
from codevault.errors import UsageError
from codevault.projectconfig import stated_of

if TYPE_CHECKING:
    from pathlib import Path

MISTAKES = {
    'shared = "x"': r"\[tool.codevault\] shared = 'x' of .*pyproject.toml is not a list of texts",
    "roots = [1]": "is not a list of texts",
    'contract = ["a"]': "is not a text",
    'share = ["x"]': "has a key 'share'",
    'shared = ["x"': "is no TOML",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_when_a_policy_is_saved(line: str, walker: Any, tmp_path: Path) -> None:
    (walker.top / "pyproject.toml").write_text(f"[tool.codevault]\n{line}\n")
    with pytest.raises(UsageError, match=MISTAKES[line]) as caught:
        codevault.save_policy(tmp_path / "best.mpt", walker.net.Walker())
    assert caught.value.hint


def test_a_near_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.codevault]\nshare = ["x"]\n')
    with pytest.raises(UsageError) as caught:
        stated_of(str(tmp_path))
    assert caught.value.hint == "correct or delete it; there is shared"


def test_what_others_state_is_theirs(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text("[tool.other\nbroken")
    assert stated_of(str(tmp_path)).shared is None
    file.write_text('[tool.codevault]\nshared = ["a"]\npolicies = ["b"]\nroots = []\n')
    assert stated_of(str(tmp_path)).shared == ("a",)


def test_a_commit_is_read_whatever_it_states(walker: Any) -> None:
    files = {"pyproject.toml": '[tool.codevault]\nshared = "x"\n', "src/walker/new.py": "X = 1\n"}
    commit = walker.commit(files)
    splint = codevault.load_code(walker.top, commit, roots=["src"])
    assert splint.load_symbol("walker.new:X") == 1
