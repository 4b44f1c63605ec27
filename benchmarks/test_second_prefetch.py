from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.second_prefetch import compare

if TYPE_CHECKING:
    import pytest


def test_a_second_prefetch_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CODEVAULT_CACHE", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "CODEVAULT_TRUST"):
        monkeypatch.setenv(name, "/nonexistent")  # `compare` sets them, and this puts them back
    found = compare(uris=4, commits=2, rounds=1)
    assert found["requests"]["first"] > 0
    assert found["requests"]["second"] == 0
