from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.saving import ARMS, compare

if TYPE_CHECKING:
    import pytest


def test_a_tiny_run_reports_every_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CODEVAULT_CACHE", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, "/nonexistent")  # `compare` sets them, and this puts them back
    assert set(compare(megabytes=4, rounds=1)["wait_ms"]) == set(ARMS)
