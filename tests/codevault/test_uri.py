"""Where checkpoints lie: paths, file://, and what fsspec knows."""

from __future__ import annotations

import hashlib
import io
import pickle
import socket
import time
import traceback
import tracemalloc
import zipfile
from typing import TYPE_CHECKING, Any

import fsspec
import fsspec.config
import pytest
import torch

import codevault
from codevault import uri
from codevault.downloads import local_copy
from codevault.errors import CheckpointError, FetchError, LegacyFormError
from codevault.uri import local_path, opened, shown

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def remote(walker: Any, tmp_path: Path) -> Any:
    """A checkpoint in fsspec's in-memory store, and that store."""
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
    first = local_copy(uri, str(tmp_path / "copies"))
    assert local_copy(uri, str(tmp_path / "copies")) == first
    remote.pipe("/runs/best.mpt", b"changed")
    assert local_copy(uri, str(tmp_path / "copies")) != first


def test_what_is_saved_goes_to_a_disk(
    walker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder called `s3:` would take a run's checkpoints without a word."""
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    policy = walker.net.Walker()
    for save in (
        lambda: codevault.save_policy("s3://runs/best.mpt", policy),
        lambda: codevault.CheckpointManager("s3://runs/bc"),
    ):
        with pytest.raises(CheckpointError, match="is no local path"):
            save()
    assert set(tmp_path.iterdir()) == before
    codevault.save_policy(f"file://{tmp_path}/a%20b.mpt", policy, probe=torch.ones(1, 4))
    codevault.load_policy(tmp_path / "a b.mpt")


def test_missing_remote_and_unknown_scheme(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="could not be read"):
        codevault.load_policy("memory://runs/none.mpt")
    with pytest.raises(FetchError, match="could not be read"):
        codevault.load_policy("nosuchscheme://runs/none.mpt")
    with pytest.raises(FetchError) as caught:
        codevault.read_manifest("ftp://me:s3cret@localhost:1/none.mpt")
    assert "s3cret" not in str(caught.value)


class Store:
    """What `fetched` needs of a store, with what it says of the object chosen by the test."""

    def __init__(self, content: bytes, **info: Any) -> None:
        self.content, self.info_, self.gets, self.listed = content, info, 0, True

    def invalidate_cache(self, path: str) -> None:
        assert path == "a.mpt"
        self.listed = False

    def info(self, path: str) -> dict[str, Any]:
        assert not self.listed, "an old listing would be answered"
        return {"name": path, "type": "file", "size": len(self.content), **self.info_}

    def get_file(self, path: str, target: str) -> None:
        self.gets += 1
        with open(target, "wb") as file:
            file.write(self.content)


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Puts a store behind every address, and gives a function that fetches from it."""
    import fsspec

    def fetch(store: Store, uri: str = "x://h/a.mpt") -> bytes:
        monkeypatch.setattr(fsspec, "url_to_fs", lambda *_, **__: (store, "a.mpt"))
        with open(local_copy(uri, str(tmp_path / "copies")), "rb") as file:
            return file.read()

    return fetch


@pytest.mark.parametrize("key", ["created", "ETag", "LastModified", "md5Hash", "generation"])
def test_whatever_a_store_says_of_the_content_is_its_version(stored: Any, key: str) -> None:
    first, second = Store(b"one", **{key: "1"}), Store(b"two", **{key: "2"})
    assert (stored(first), stored(first), first.gets) == (b"one", b"one", 1)
    # The same size, as of every checkpoint of one policy.
    assert (stored(second), second.gets) == (b"two", 1)
    assert (stored(Store(b"one", **{key: "1"})), first.gets) == (b"one", 1)


def test_an_object_of_which_only_the_size_is_known_is_fetched_each_time(stored: Any) -> None:
    # HTTP without ETag; SFTP's time is that of the last reading.
    store = Store(b"one", url="http://cdn/?signature=1", mimetype="x", ETag=None, time=1)
    assert (stored(store), stored(store), store.gets) == (b"one", b"one", 2)
    store.content = b"two"
    assert stored(store) == b"two"


def test_replaced_object_in_memory_is_fetched_again(remote: Any, tmp_path: Path) -> None:
    uri, folder = "memory://runs/best.mpt", str(tmp_path / "copies")
    data = bytearray(remote.cat("/runs/best.mpt"))
    first = local_copy(uri, folder)
    data[-1] ^= 1
    remote.pipe("/runs/best.mpt", bytes(data))
    second = local_copy(uri, folder)
    assert second != first
    with open(second, "rb") as file:
        assert file.read() == data


def test_a_short_copy_is_never_kept(stored: Any, tmp_path: Path) -> None:
    store = Store(b"whole", size=5, ETag="1")
    store.content = b"who"
    with pytest.raises(FetchError, match="3 bytes came, and the store states 5"):
        stored(store)
    assert list((tmp_path / "copies/checkpoints").iterdir()) == []
    store.content = b"whole"
    assert stored(store) == b"whole"
    # One that an earlier version left behind, or a crash.
    (copy,) = (tmp_path / "copies/checkpoints").glob("*.mpt")
    assert copy.name == f"{hashlib.sha256(b'whole').hexdigest()}.mpt"
    for damage in (b"wh", b"wholE"):
        copy.write_bytes(damage)
        assert stored(store) == b"whole"
    assert store.gets == 4


def test_a_copy_that_was_only_touched_is_kept(stored: Any, tmp_path: Path) -> None:
    store = Store(b"whole", ETag="1")
    stored(store)
    (copy,) = (tmp_path / "copies/checkpoints").glob("*.mpt")
    (note,) = (tmp_path / "copies/checkpoints").glob("*.json")
    copy.touch()
    before = note.read_bytes()
    assert (stored(store), store.gets) == (b"whole", 1)
    assert note.read_bytes() != before
    for damaged in (b"", b"{}", b"[1]", b'{"sha256": 1, "identity": 2}'):
        note.write_bytes(damaged)
        assert stored(store) == b"whole"
    assert store.gets == 5


def test_two_addresses_of_the_same_bytes_share_a_copy(stored: Any, tmp_path: Path) -> None:
    store = Store(b"whole", ETag="1")
    assert stored(store) == stored(store, "x://h/other.mpt") == b"whole"
    assert len(list((tmp_path / "copies/checkpoints").glob("*.mpt"))) == 1


def test_an_object_that_changes_meanwhile_is_not_kept(stored: Any, tmp_path: Path) -> None:
    class Moving(Store):
        def get_file(self, path: str, target: str) -> None:
            super().get_file(path, target)
            self.info_ = {"ETag": "2"}

    with pytest.raises(FetchError, match="changed while it was fetched"):
        stored(Moving(b"one", ETag="1"))
    assert list((tmp_path / "copies/checkpoints").iterdir()) == []
    for address in ("x://h/runs", "x://h/runs/"):
        with pytest.raises(FetchError, match="it is a folder") as caught:
            stored(Store(b"", type="directory"), address)
        assert caught.value.hint == "codevault prefetch x://h/runs/"


SIGNED = (
    "https://me:s3cr%2Ft@h.example/a.mpt?X-Amz-Credential=AKIAEXAMPLE&X-Amz-Signature=0badcafe&n=1"
)
SECRETS = ("me:", "s3cr", "AKIAEXAMPLE", "0badcafe")


@pytest.mark.parametrize(
    "said",
    [
        SIGNED,
        "Forbidden, url='https://other:pass0badcafe@h/x?sig=0badcafe' and more",
        "user me:s3cr/t may not",
        "no key a.mpt?X-Amz-Signature=0badcafe",
        "signature 0badcafe has expired",
    ],
)
def test_no_error_shows_what_grants_access(
    stored: Any, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    class Closed(Store):
        def info(self, path: str) -> Any:
            # No OSError: what a store's own library raises.
            raise RuntimeError(said)

        def open(self, path: str, mode: str, block_size: int) -> Any:
            raise RuntimeError(said)

    for use in (
        lambda: stored(Closed(b""), SIGNED),
        lambda: codevault.read_manifest(SIGNED),
    ):
        with pytest.raises(FetchError, match=r"https://h\.example/a\.mpt") as caught:
            use()
        text = "".join(traceback.format_exception(caught.value))
        assert not [secret for secret in SECRETS if secret in str(caught.value)], text
        chained = text.partition("FetchError: ")[2]
        assert not [secret for secret in SECRETS if secret in chained]
        assert "RuntimeError" in str(caught.value)


def test_an_address_is_shown_without_its_secrets() -> None:
    assert shown(SIGNED) == "https://h.example/a.mpt?…"
    assert shown("s3://bucket/a b#1.mpt") == "s3://bucket/a b#1.mpt"
    assert shown("/tmp/a?b@c.mpt") == "/tmp/a?b@c.mpt"


def test_remote_errors_of_the_content_are_those_of_a_local_file(
    remote: Any, tmp_path: Path
) -> None:
    whole = remote.cat("/runs/best.mpt")
    cases = {
        "torn": whole[: len(whole) // 2],
        "text": b"hello",
        "empty": b"",
        "locked": whole.replace(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0"),
    }
    for name, data in cases.items():
        remote.pipe(f"/runs/{name}", data)
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CheckpointError) as far:
            codevault.read_manifest(f"memory://runs/{name}")
        with pytest.raises(CheckpointError) as near:
            codevault.read_manifest(tmp_path / name)
        assert type(far.value) is type(near.value)
        assert near.value.reference == far.value.reference


def test_errors_of_a_copy_name_the_address(remote: Any) -> None:
    """Of a thousand addresses, the name of a local copy would not tell which one is broken."""
    remote.pipe("/runs/torn.mpt", remote.cat("/runs/best.mpt")[:-50])
    remote.pipe("/runs/old.pt", pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match=r"memory://runs/torn\.mpt is incomplete"):
        codevault.load_policy("memory://runs/torn.mpt")
    with pytest.raises(LegacyFormError) as caught:
        codevault.load_policy("memory://runs/old.pt")
    assert caught.value.hint.startswith("codevault convert memory://runs/old.pt ")


def test_remote_bomb_is_bounded_by_what_it_states_and_by_what_it_gives(remote: Any) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("manifest.json", bytes(200 << 20))
        made.writestr("policy_architecture.yaml", b"x")
        made.writestr("weights.safetensors", b"x")
    honest = bytearray(file.getvalue())
    lying = bytearray(honest)
    size = lying.index(b"PK\1\2") + 24
    lying[size : size + 4] = (1 << 20).to_bytes(4, "little")
    for data in (honest, lying):
        remote.pipe("/runs/bomb", bytes(data))
        tracemalloc.start()
        try:
            with pytest.raises(CheckpointError, match=r"too large|another size"):
                codevault.read_manifest("memory://runs/bomb")
            assert tracemalloc.get_traced_memory()[1] < 40 << 20
        finally:
            tracemalloc.stop()


def test_remote_files_are_closed(remote: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    real = type(remote).open

    def watched(*args: Any, **more: Any) -> Any:
        file = io.BytesIO(real(*args, **more).read())
        files.append(file)
        return file

    remote.pipe("/runs/text", b"hello")
    monkeypatch.setattr(type(remote), "open", watched)
    codevault.read_manifest("memory://runs/best.mpt")
    with pytest.raises(CheckpointError):
        codevault.read_manifest("memory://runs/text")
    with pytest.raises(FetchError, match="gone"), opened("memory://runs/best.mpt"):
        raise OSError("gone")
    assert [file.closed for file in files] == [True] * 3


def test_an_address_that_cannot_be_read_is_an_error_of_ours() -> None:
    with pytest.raises(CheckpointError, match="no address"):
        local_path("file://[/a.mpt")
    with pytest.raises(CheckpointError, match="names a host") as caught:
        local_path("file://me:s3cret@otherhost/a.mpt")
    assert "s3cret" not in str(caught.value)


def test_a_web_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that goes on sending has all the time that a large file needs."""
    monkeypatch.setattr(uri, "_SILENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/best.mpt"
        start = time.monotonic()
        (item,) = codevault.prefetch([address]).items
        assert time.monotonic() - start < 20
        assert item.error is not None
        assert item.error.reference == "fetch"
        with uri.reading(address) as (store, _):
            assert store.client_kwargs["timeout"].total is None
        own = {"client_kwargs": {"trust_env": True}}
        monkeypatch.setitem(fsspec.config.conf, "https", own)
        with uri.reading(address) as (store, _):
            assert store.client_kwargs == own["client_kwargs"], "the user's word counts"
