"""One text where a list is meant is refused, and not read letter by letter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import codevault
from codevault.errors import UsageError


@pytest.mark.parametrize("name", ["roots", "shared", "include"])
def test_code_is_not_read_letter_by_letter(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    given: Any = {name: "src"}
    with pytest.raises(UsageError, match=rf"{name}='src' is one text") as caught:
        codevault.load_code(tmp_path, **given)
    assert caught.value.hint == f"{name}=['src']"
    with pytest.raises(UsageError, match=rf"{name}='src' is one text"):
        codevault.save_policy(tmp_path / "best.mpt", object(), **given)
    assert codevault.load_code(tmp_path).name


@pytest.mark.parametrize("one", ["best.mpt", Path("best.mpt")])
def test_uris_are_not_read_letter_by_letter(one: Any) -> None:
    with pytest.raises(UsageError) as caught:
        codevault.prefetch(one)
    assert caught.value.hint == "uris=['best.mpt']"


def test_grants_are_not_read_letter_by_letter(walker: Any, tmp_path: Path) -> None:
    codevault.save_policy(tmp_path / "best.mpt", walker.net.Walker())
    grants: Any = "https://example.org/a/b"
    with pytest.raises(UsageError) as caught:
        codevault.load_policy(tmp_path / "best.mpt", trust=grants)
    assert caught.value.hint == "trust=['https://example.org/a/b']"
