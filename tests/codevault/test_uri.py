"""Where checkpoints lie: paths, file://, and what fsspec knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

import codevault
from codevault.errors import CheckpointError, FetchError
from codevault.uri import fetched, local_path

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def remote(walker: Any, tmp_path: Path) -> Any:
    """A checkpoint in fsspec's in-memory store, and that store."""
    import fsspec

    codevault.save_policy(tmp_path / "best.mpt", walker.net.Walker(), probe=torch.ones(1, 4))
    store = fsspec.filesystem("memory")
    store.pipe("/runs/best.mpt", (tmp_path / "best.mpt").read_bytes())
    yield store
    store.rm("/runs", recursive=True)


def test_local_spellings(tmp_path: Path) -> None:
    assert local_path("a b.mpt") == "a b.mpt"
    assert local_path(f"file://{tmp_path}/a%20b.mpt") == f"{tmp_path}/a b.mpt"
    assert local_path("s3://bucket/a.mpt") is None
    with pytest.raises(CheckpointError, match="otherhost"):
        local_path("file://otherhost/a.mpt")


def test_remote_checkpoint_is_loaded_and_fetched_once(remote: Any, tmp_path: Path) -> None:
    uri = "memory://runs/best.mpt"
    assert codevault.read_manifest(uri).roots == ("src",)
    codevault.load_policy(uri)
    first = fetched(uri, str(tmp_path / "copies"))
    assert fetched(uri, str(tmp_path / "copies")) == first
    remote.pipe("/runs/best.mpt", b"changed")
    assert fetched(uri, str(tmp_path / "copies")) != first


def test_missing_remote_and_unknown_scheme(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="could not be read"):
        codevault.load_policy("memory://runs/none.mpt")
    with pytest.raises(FetchError, match="could not be read"):
        codevault.load_policy("nosuchscheme://runs/none.mpt")
    with pytest.raises(FetchError) as caught:
        codevault.read_manifest("ftp://me:s3cret@localhost:1/none.mpt")
    assert "s3cret" not in str(caught.value)
