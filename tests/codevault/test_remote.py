"""Checkpoints on real servers: plain HTTP, and S3."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

import codevault
from codevault import writer
from codevault.checkpoint import open_checkpoint
from codevault.errors import FetchError
from tests.codevault import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

OBS = torch.ones(1, 4)
pytestmark = pytest.mark.filterwarnings(  # of the client's libraries, when loops are closed
    "ignore::ResourceWarning",
    "ignore::DeprecationWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "www").mkdir()
    return tmp_path / "www"


@pytest.fixture(params=[True, False], ids=["ranges", "no-ranges"])
def site(request: pytest.FixtureRequest, folder: Path) -> Iterator[servers.Web]:
    pytest.importorskip("aiohttp")
    with servers.web(folder, ranges=request.param) as site:
        yield site


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """A bucket of a real S3 server, as `s3fs` sees it."""
    s3fs = pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    with servers.s3() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", url)
        patch.setenv("AWS_ACCESS_KEY_ID", "someone")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "something")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        store = s3fs.S3FileSystem()
        store.mkdir("runs")
        yield store
        s3fs.S3FileSystem.clear_instance_cache()


def large(path: Path, size: int) -> None:
    """A checkpoint whose weights are a hole of this many bytes: only its manifest can be read."""
    source = open_checkpoint(path)
    with open(path, "rb") as file:
        data = file.read()
    members: list[tuple[str, writer.Payload]] = [
        (name, writer.Bytes(data[m.offset : m.offset + m.size]))
        for name, m in source.members.items()
        if name != "weights.safetensors"
    ]
    hole = Hole(size)
    with open(path, "wb") as file:
        entries, at = b"", 0
        for name, payload in [*members, ("weights.safetensors", hole)]:
            header = writer.local_header(name, payload, 0, at, 1)
            entries += writer.central_header(name, payload, 0, at)
            file.write(header)
            if payload is hole:
                file.seek(size, 1)
            else:
                file.write(b"".join(payload.chunks()))
            at += len(header) + payload.size
        file.write(entries + writer.directory_end(len(members) + 1, at, len(entries)))


class Hole:
    """So many zeros, which nobody writes."""

    crc = 0

    def __init__(self, size: int) -> None:
        self.size = size

    def chunks(self) -> Iterator[bytes]:
        yield b""


def test_http_loads_once_and_again_when_it_changed(
    site: servers.Web, folder: Path, walker: Any
) -> None:
    policy = walker.net.Walker()
    codevault.save_policy(folder / "best.mpt", policy, probe=OBS)
    uri = f"{site.url}/best.mpt?token=hidden"
    loaded = codevault.load_policy(uri)
    assert torch.equal(loaded(OBS), policy(OBS))
    assert codevault.provenance(loaded).uri == f"{site.url}/best.mpt?…"
    sent = site.sent
    codevault.load_policy(uri)
    assert site.sent == sent
    other = walker.net.Walker()
    codevault.save_policy(folder / "best.mpt", other, probe=OBS)
    assert torch.equal(codevault.load_policy(uri)(OBS), other(OBS))
    with pytest.raises(FetchError, match=r"none\.mpt could not be read"):
        codevault.load_policy(f"{site.url}/none.mpt")


def test_http_manifest_of_a_gigabyte_costs_kilobytes(folder: Path, walker: Any) -> None:
    pytest.importorskip("aiohttp")
    saved = codevault.save_policy(folder / "best.mpt", walker.net.Walker(), probe=OBS)
    large(folder / "best.mpt", 1 << 30)
    with servers.web(folder, ranges=True) as site:
        assert codevault.read_manifest(f"{site.url}/best.mpt") == saved
        assert site.sent < 300_000
        report = codevault.prefetch([f"{site.url}/best.mpt"])
        assert report.ok, report
        assert site.sent < 600_000
        assert (folder / "best.mpt").stat().st_size > 1 << 30


def test_s3_loads_once_and_again_when_it_changed(bucket: Any, tmp_path: Path, walker: Any) -> None:
    policy = walker.net.Walker()
    saved = codevault.save_policy(tmp_path / "best.mpt", policy, probe=OBS)
    bucket.put_file(str(tmp_path / "best.mpt"), "runs/best.mpt")
    uri = "s3://runs/best.mpt"
    assert codevault.read_manifest(uri) == saved
    assert torch.equal(codevault.load_policy(uri)(OBS), policy(OBS))
    (copy,) = Path(os.environ["CODEVAULT_CACHE"]).glob("checkpoints/*.mpt")
    before = copy.stat().st_mtime_ns
    codevault.load_policy(uri)
    assert copy.stat().st_mtime_ns == before
    other = walker.net.Walker()
    codevault.save_policy(tmp_path / "best.mpt", other, probe=OBS)
    bucket.put_file(str(tmp_path / "best.mpt"), "runs/best.mpt")
    assert torch.equal(codevault.load_policy(uri)(OBS), other(OBS))


def test_s3_manifest_reads_ranges(bucket: Any, tmp_path: Path, walker: Any) -> None:
    saved = codevault.save_policy(tmp_path / "best.mpt", walker.net.Walker(), probe=OBS)
    large(tmp_path / "best.mpt", 64 << 20)
    bucket.put_file(str(tmp_path / "best.mpt"), "runs/large.mpt")
    asked: list[int] = []
    real = type(bucket)._cat_file

    async def counted(self: Any, path: str, *args: Any, **more: Any) -> Any:
        found = await real(self, path, *args, **more)
        asked.append(len(found))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(bucket), "_cat_file", counted)
        assert codevault.read_manifest("s3://runs/large.mpt") == saved
    assert sum(asked) < 1 << 20


def test_s3_patterns_and_folders_are_prefetched(bucket: Any, tmp_path: Path, walker: Any) -> None:
    codevault.save_policy(tmp_path / "best.mpt", walker.net.Walker(), probe=OBS)
    for name in ("many/a/1.mpt", "many/b/c/2.mpt", "many/b/notes.txt"):
        bucket.put_file(str(tmp_path / "best.mpt"), f"runs/{name}")
    for pattern, found in {
        "s3://runs/many/**/*.mpt": ["s3://runs/many/a/1.mpt", "s3://runs/many/b/c/2.mpt"],
        "s3://runs/many/b/c/": ["s3://runs/many/b/c/2.mpt"],
    }.items():
        report = codevault.prefetch([pattern])
        assert report.ok, report.failures
        assert [item.uri for item in report.items] == found
        assert report.snapshots == 1
        assert report.requests >= len(found)
    (folder,) = codevault.prefetch(["s3://runs/many/b/c"]).items
    assert folder.error is not None
    assert folder.error.hint == "codevault prefetch s3://runs/many/b/c/"
    (none,) = codevault.prefetch(["s3://runs/nothing/*.mpt"]).items
    assert none.error is not None
    assert none.error.reference == "missing-checkpoint"
    assert none.error.hint == "codevault prefetch 's3://runs/nothing/**/*.mpt'"


def test_s3_a_second_prefetch_of_a_pattern_asks_for_the_list_alone(
    bucket: Any, tmp_path: Path, walker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = type(bucket)._call_s3

    async def counted(self: Any, method: str, *args: Any, **options: Any) -> Any:
        asked.append(method)
        return await real(self, method, *args, **options)

    monkeypatch.setattr(type(bucket), "_call_s3", counted)
    codevault.save_policy(tmp_path / "a.mpt", walker.net.Walker(), probe=OBS)
    for number in range(6):
        bucket.put_file(str(tmp_path / "a.mpt"), f"runs/second/{number}.mpt")
    pattern = "s3://runs/second/*.mpt"
    first = codevault.prefetch([pattern])
    asked.clear()
    second = codevault.prefetch([pattern])
    assert [item.status for item in second.items] == ["hit"] * 6
    assert second.requests == 1 < first.requests
    assert "get_object" not in asked
    assert "head_object" not in asked

    # What was replaced since then is read anew, and so is one whose note is damaged.
    walker.commit({"src/walker/scale.py": "SCALE = 5.0\n"})
    codevault.save_policy(tmp_path / "b.mpt", walker.load("walker.net").Walker(), probe=OBS)
    bucket.put_file(str(tmp_path / "b.mpt"), "runs/second/3.mpt")
    notes = sorted(Path(os.environ["CODEVAULT_CACHE"], "checkpoints").glob("*.manifest"))
    assert len(notes) == 6
    notes[0].write_text(notes[0].read_text()[:-200])
    third = codevault.prefetch([pattern])
    splints = {item.uri: item.splint for item in third.items}
    assert third.ok
    assert splints["s3://runs/second/3.mpt"] != splints["s3://runs/second/2.mpt"]
    assert codevault.prefetch([pattern]).requests == 1


def test_a_second_prefetch_asks_whether_the_file_is_the_same(
    site: Any, folder: Path, walker: Any
) -> None:
    codevault.save_policy(folder / "best.mpt", walker.net.Walker(), probe=OBS)
    uri = f"{site.url}/best.mpt"
    assert codevault.prefetch([uri]).ok
    site.requests.clear()
    again = codevault.prefetch([uri])
    assert (again.ok, again.requests) == (True, 1)
    assert [asked.partition(" ")[0] for asked in site.requests] == ["HEAD"]


def test_s3_errors_name_the_object(bucket: Any) -> None:
    for uri in ("s3://runs/none.mpt", "s3://no-such-bucket/none.mpt"):
        with pytest.raises(FetchError, match=r"none\.mpt could not be read"):
            codevault.load_policy(uri)


@pytest.mark.parametrize(
    ("uri", "package"),
    [
        ("gs://bucket/a.mpt", "gcsfs"),
        ("hf://owner/repo/a.mpt", "huggingface_hub"),
        ("abfs://bucket/a.mpt", "adlfs"),
    ],
)
def test_a_scheme_whose_package_is_missing_names_it(
    uri: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.hf_file_system", None)
    with pytest.raises(FetchError) as caught:
        codevault.read_manifest(uri)
    assert caught.value.hint == f"python -m pip install {package}"
