from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codevault_importhook import is_splint, make, naming, split, strip

hex12 = st.text("0123456789abcdef", min_size=12, max_size=12)
modules = st.lists(st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True), min_size=1).map(".".join)


@given(hex12, hex12)
def test_clean_names_every_name_has_the_same_width(commit: str, spec: str) -> None:
    name = make(commit, spec)
    assert len(name) == naming.WIDTH
    assert name.isidentifier()
    assert is_splint(name)
    assert split(name) == (name, "")


@given(hex12, hex12, modules)
def test_clean_names_split_and_strip_undo_the_prefix(commit: str, spec: str, module: str) -> None:
    name = make(commit, spec)
    assert split(f"{name}.{module}") == (name, module)
    assert strip(f"{name}.{module}") == module


@given(st.text() | modules)
def test_clean_names_other_names_stay(name: str) -> None:
    if not name.startswith("_splint_"):
        assert split(name) is None
        assert strip(name) == name


@pytest.mark.parametrize(
    "groups",
    [
        ("0123456789a", "0123456789ab"),
        ("0123456789abc", "0123456789ab"),
        ("0123456789AB", "0123456789ab"),
        ("0123456789ag", "0123456789ab"),
        ("", ""),
        ("0123456789ab\n", "0123456789ab"),
    ],
)
def test_clean_names_refuses_other_groups(groups: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="no splint name"):
        make(*groups)


@pytest.mark.parametrize("tail", ["x", ".", "_x", "0"])
def test_clean_names_a_longer_word_is_no_splint(tail: str) -> None:
    name = make("0" * 12, "1" * 12) + tail
    assert split(name) is None
    assert strip(name) == name
    assert not is_splint(name)


def test_clean_names_the_splint_itself_is_not_stripped_to_nothing() -> None:
    name = make("0" * 12, "1" * 12)
    assert strip(name) == name


@given(st.binary())
def test_clean_names_a_placeholder_is_not_in_its_source(source: bytes) -> None:
    name = naming.placeholder(source)
    assert is_splint(name)
    assert name.encode() not in source
    assert hashlib.sha256(source).hexdigest().startswith(name[8:20])
