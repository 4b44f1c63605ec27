"""The checkpoint file: what is written, what is refused, and that damage is never a crash."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import pickle
import random
import shlex
import subprocess
import sys
import tracemalloc
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from codevault import archive, writer
from codevault.checkpoint import (
    Checkpoint,
    check_member,
    open_checkpoint,
    read_member,
    write_checkpoint,
)
from codevault.errors import (
    CaptureError,
    CheckpointError,
    CodevaultError,
    FormatVersionError,
    LegacyFormError,
    MissingCheckpointError,
    TruncatedError,
)
from codevault.manifest import Manifest
from codevault.manifestparts import ProbePart
from codevault.weights import map_weights, prepare, verify_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

ARCHITECTURE = b"class_path: agent.Policy\n"
ORDER = [
    "manifest.json",
    "policy_architecture.yaml",
    "weights.safetensors",
    "probe.safetensors",
    "code.pack",
    "code.diff",
]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def save(path: Path, *, seed: int = 0, probe: bytes | None = b"probe", size: int = 8) -> Manifest:
    torch.manual_seed(seed)
    weights = prepare({"w": torch.randn(size, size), "b": torch.randn(3), "n": torch.tensor(7)})
    manifest = Manifest(
        codevault="0.1.0",
        digest="0" * 64,
        roots=(".",),
        python="3.11",
        packages={},
        architecture=sha256(ARCHITECTURE),
        weights=weights.sha256,
        probe=ProbePart(inputs=1, outputs=1, sha256=sha256(probe)) if probe else None,
        created="2026-01-01T00:00:00Z",
    )
    write_checkpoint(
        path,
        manifest=manifest,
        architecture=ARCHITECTURE,
        weights=weights,
        probe=probe,
        pack=b"PACK",
        diff=b"diff",
    )
    return manifest


def use(path: Path) -> Checkpoint:
    """All that a load reads."""
    checkpoint = open_checkpoint(path)
    verify_digest(checkpoint)
    map_weights(checkpoint)
    for name in ("policy_architecture.yaml", "probe.safetensors", "code.pack", "code.diff"):
        read_member(checkpoint, name)
    return checkpoint


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "best.mpt"
    save(path)
    return path


def test_members_are_stored_in_order_and_weights_at_a_page(file: Path) -> None:
    checkpoint = use(file)
    with zipfile.ZipFile(file) as other:
        assert other.namelist() == ORDER
        assert other.testzip() is None
        assert {i.compress_type for i in other.infolist()} == {zipfile.ZIP_STORED}
        assert {i.date_time for i in other.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        for name in ORDER:
            assert other.read(name) == read_member(checkpoint, name)
    weights = checkpoint.members["weights.safetensors"]
    assert weights.offset % 4096 == 0
    data = file.read_bytes()
    assert (weights.offset + 8 + int.from_bytes(data[weights.offset :][:8], "little")) % 64 == 0
    # Nothing but zeros pads.
    end = checkpoint.members["policy_architecture.yaml"]
    header = data[end.offset + end.size : weights.offset]
    assert not header[30 + len("weights.safetensors") + 6 :].strip(b"\0")


def test_unzip_accepts_the_file(file: Path) -> None:
    try:
        done = subprocess.run(["unzip", "-tq", file], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unzip here")
    assert (done.returncode, done.stderr) == (0, "")


def test_equal_input_is_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    for name in ("a", "b"):
        save(tmp_path / name)
    first = (tmp_path / "a").read_bytes()
    assert first == (tmp_path / "b").read_bytes()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    save(tmp_path / "c")
    with zipfile.ZipFile(tmp_path / "c") as dated:
        assert {i.date_time for i in dated.infolist()} == {(2023, 11, 14, 22, 13, 20)}
    for text in ("", "yesterday", "-5", "9" * 30):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
        save(tmp_path / "d")
        assert (tmp_path / "d").read_bytes() == first


def test_reading_needs_no_torch(file: Path) -> None:
    text = (
        "import sys; from codevault.checkpoint import open_checkpoint as o;"
        f"found = o({str(file)!r}).manifest.format;"
        "print(found, {'torch', 'safetensors', 'numpy'} & set(sys.modules))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout == "1 set()\n"


@dataclass
class Hole:
    """A payload of zeros that is not written."""

    size: int
    crc: int = 0

    def chunks(self) -> Iterator[bytes]:
        yield b""


@pytest.mark.parametrize("size", [0, 2**31 - 1, 2**32 - 2, 2**32 - 1, 2**32, 5 * 2**32])
@pytest.mark.parametrize("at", [0, 1, 4000, 4095, 2**32 + 17])
def test_data_is_aligned_whatever_the_header_needs(size: int, at: int) -> None:
    header = writer.local_header("weights.safetensors", Hole(size), 0, at, 4096)
    assert (at + len(header)) % 4096 == 0
    extra = header[30 + len("weights.safetensors") :]
    assert int.from_bytes(header[28:30], "little") == len(extra)
    assert (int.from_bytes(extra[:2], "little") == 1) == (size >= 2**32 - 1)


def test_a_sparse_file_above_four_gigabytes_is_read(tmp_path: Path) -> None:
    path, size = tmp_path / "large.zip", 5 << 30
    first = writer.local_header("weights.safetensors", Hole(size), 0, 0, 4096)
    second = writer.local_header("b", writer.Bytes(b"after"), 0, len(first) + size, 1)
    entries = writer.central_header("weights.safetensors", Hole(size), 0, 0)
    at = len(first) + size
    entries += writer.central_header("b", writer.Bytes(b"after"), 0, at)
    start = at + len(second) + 5
    with open(path, "wb") as file:
        file.write(first)
        file.seek(at)
        file.write(second + b"after" + entries + writer.directory_end(2, start, len(entries)))
    with open(path, "rb") as file:
        infos, place = archive.directory(file, "large")
        members = archive.table(file.fileno(), "large", infos, place)
        assert place == start
        assert (members["weights.safetensors"].offset, members["weights.safetensors"].size) == (
            4096,
            size,
        )
        assert (
            b"".join(map(bytes, archive.chunks(file.fileno(), members["b"], "large"))) == b"after"
        )
    with zipfile.ZipFile(path) as other:
        assert other.getinfo("weights.safetensors").file_size == size
        assert other.read("b") == b"after"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(CheckpointError, match="No space left"):
                save(file, seed=1)
        assert file.read_bytes() == before
        assert os.listdir(file.parent) == [file.name]


def test_weights_that_change_while_they_are_saved_are_refused(tmp_path: Path) -> None:
    tensor = torch.zeros(4)
    prepared = prepare({"w": tensor})
    manifest = save(tmp_path / "other", probe=None).model_copy(update={"weights": prepared.sha256})
    tensor += 1
    with pytest.raises(CaptureError, match="changed while it was being saved"):
        write_checkpoint(
            tmp_path / "a.mpt", manifest=manifest, architecture=ARCHITECTURE, weights=prepared
        )
    assert os.listdir(tmp_path) == ["other"]


def test_a_manifest_of_other_bytes_is_refused(tmp_path: Path) -> None:
    prepared = prepare({})
    manifest = save(tmp_path / "other", probe=None)
    with pytest.raises(CaptureError, match="another policy_architecture"):
        write_checkpoint(tmp_path / "a", manifest=manifest, architecture=b"x", weights=prepared)


def test_saving_over_a_checkpoint_keeps_what_was_mapped(file: Path) -> None:
    old = open_checkpoint(file)
    tensors = map_weights(old)
    values = tensors["w"].clone()
    save(file, seed=1)
    assert torch.equal(tensors["w"], values)
    with pytest.raises(CheckpointError, match="replaced or changed"):
        map_weights(old)
    assert not torch.equal(map_weights(open_checkpoint(file))["w"], values)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"mkdir -p .*/runs/1"):
        save(tmp_path / "runs" / "1" / "a.mpt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match="cannot be written"):
        save(tmp_path / "folder")


def test_strangers_are_refused_with_what_they_are(tmp_path: Path) -> None:
    cases = {
        "text": (b"hello", "is not a checkpoint"),
        "empty": (b"", "it is empty"),
        "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
        "emptyzip": (b"PK\5\6" + bytes(18), "is not a checkpoint"),
    }
    for name, (data, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CheckpointError, match=message) as caught:
            open_checkpoint(tmp_path / name)
        assert caught.value.reference == "not-a-checkpoint"
    for path, message in ((tmp_path, "it is a folder"), (tmp_path / "gone", "ls -l")):
        with pytest.raises(CheckpointError, match=message):
            open_checkpoint(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="no regular file"):
        open_checkpoint(tmp_path / "pipe")


def test_other_forms_are_named_with_the_line_that_converts_them(tmp_path: Path) -> None:
    def pack(*names: str) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as made:
            for name in names:
                made.writestr(name, b"x")
        return buffer.getvalue()

    tensors = io.BytesIO()
    torch.save({str(i): torch.zeros(1) for i in range(70)}, tensors)
    safe = b"".join(map(bytes, prepare({"w": torch.zeros(2)}).chunks()))
    cases = [
        ("a.pt", tensors.getvalue(), "a file of torch.save"),
        ("a.pkl", pickle.dumps([1]), "a bare pickle"),
        ("a.mpt", pack("weights.safetensors", "modelarchitecture.txt"), "a Metta `.mpt`"),
        ("b.mpt", pack("policy.pt"), "a Metta `.mpt`"),
        ("c.zip", pack("policy_spec.json", "weights.safetensors"), "policy_spec.json"),
        ("policy_spec.json", b"{}", "policy_spec.json"),
        ("d.zip", pack("data", "policy.pth", "pytorch_variables.pth"), "a Stable-Baselines3 zip"),
        ("e.safetensors", safe, "a bare safetensors file"),
    ]
    for name, data, form in cases:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(LegacyFormError, match=form) as caught:
            open_checkpoint(tmp_path / name)
        assert caught.value.hint.startswith(f"codevault convert {tmp_path}")
        assert " -o new.mpt --repo URL_OR_PATH --commit SHA" in caught.value.hint
    with pytest.raises(LegacyFormError, match="bundle"):
        open_checkpoint(tmp_path)


def rezip(
    source: Path, target: Path, method: int = zipfile.ZIP_DEFLATED, extra: tuple[str, ...] = ()
) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        for name in extra:
            new.writestr(name, b"x")
    return target


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_checkpoint_that_was_zipped_again_is_read(
    file: Path, tmp_path: Path, method: int
) -> None:
    again = use(rezip(file, tmp_path / "again.mpt", method))
    assert torch.equal(map_weights(again)["w"], map_weights(open_checkpoint(file))["w"])


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../b", "a\\b", "c:x"])
def test_odd_names_are_refused(file: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="no plain relative name"):
        open_checkpoint(rezip(file, tmp_path / "odd", extra=(name,)))


def test_too_many_and_duplicate_and_encrypted_members_are_refused(
    file: Path, tmp_path: Path
) -> None:
    many = tuple(f"m{i}" for i in range(64))
    with pytest.raises(CheckpointError, match="at most 64"):
        open_checkpoint(rezip(file, tmp_path / "many", extra=many))
    with pytest.warns(UserWarning, match="Duplicate"):
        rezip(file, tmp_path / "twice", extra=("code.diff",))
    with pytest.raises(CheckpointError, match="twice"):
        open_checkpoint(tmp_path / "twice")
    data = bytearray(file.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "locked").write_bytes(data)
    with pytest.raises(CheckpointError, match="encrypted"):
        open_checkpoint(tmp_path / "locked")
    with pytest.raises(CheckpointError, match="method 14"):
        open_checkpoint(rezip(file, tmp_path / "lzma", zipfile.ZIP_LZMA))


def test_overlapping_members_and_a_lying_size_are_refused(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    directory = whole.index(b"PK\1\2")
    data = bytearray(whole)
    data[directory + 20 : directory + 28] = (2000).to_bytes(4, "little") * 2
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(CheckpointError, match="overlap"):
        open_checkpoint(tmp_path / "a")
    last = whole.rindex(b"PK\1\2")
    data = bytearray(whole)
    data[last + 20 : last + 28] = (1 << 30).to_bytes(4, "little") * 2
    (tmp_path / "b").write_bytes(data)
    with pytest.raises(TruncatedError, match=r"code\.diff"):
        open_checkpoint(tmp_path / "b")


def test_a_huge_manifest_and_a_zip_bomb_are_refused(file: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("manifest.json", bytes(17 << 20))
        made.writestr("policy_architecture.yaml", b"x")
        made.writestr("weights.safetensors", b"x")
    with pytest.raises(CheckpointError, match="too large"):
        open_checkpoint(tmp_path / "a")
    bomb = bytearray((tmp_path / "a").read_bytes())
    bomb[bomb.index(b"PK\1\2") + 24 : bomb.index(b"PK\1\2") + 28] = (10).to_bytes(4, "little")
    (tmp_path / "b").write_bytes(bomb)
    with pytest.raises(CheckpointError, match="another size"):
        open_checkpoint(tmp_path / "b")


def test_a_missing_file_is_a_file_not_found_error_too(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        open_checkpoint(tmp_path / "it's gone" / "a.mpt")
    error = caught.value
    assert isinstance(error, MissingCheckpointError)
    assert error.errno == errno.ENOENT
    assert shlex.split(error.hint) == ["ls", "-l", f"{tmp_path}/it's gone"]
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.errno) == (str(error), error.errno)
    with pytest.raises(CheckpointError) as other:
        open_checkpoint(tmp_path / "x\0")
    assert not isinstance(other.value, FileNotFoundError)


def test_members_that_are_too_large_are_neither_written_nor_read(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare({"w": torch.zeros(2)})
    large = bytes(17 << 20)
    manifest = save(tmp_path / "other", probe=None).model_copy(
        update={"weights": prepared.sha256, "architecture": sha256(large)}
    )
    with pytest.raises(CaptureError, match=r"policy_architecture\.yaml would be too large"):
        write_checkpoint(tmp_path / "a", manifest=manifest, architecture=large, weights=prepared)
    # 64 KB of deflated zeros are 64 MB.
    for name in ("policy_architecture.yaml", "code.pack", "code.diff", "other"):
        with zipfile.ZipFile(tmp_path / "b", "w", zipfile.ZIP_DEFLATED) as made:
            with zipfile.ZipFile(file) as old:
                for member in old.namelist():
                    if member != name:
                        made.writestr(member, old.read(member))
            made.writestr(name, bytes(66 << 20))
        bomb = open_checkpoint(tmp_path / "b")
        tracemalloc.start()
        try:
            with pytest.raises(CheckpointError, match="too large"):
                read_member(bomb, name)
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()
    monkeypatch.setattr("codevault.checkpoint._LIMITS", {"code.pack": 3})
    with pytest.raises(CheckpointError, match=r"4 bytes, and at most 3 are read"):
        read_member(open_checkpoint(file), "code.pack")


def test_inflating_never_makes_more_than_a_piece_at_once(file: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b", "w", zipfile.ZIP_DEFLATED) as made:
        with zipfile.ZipFile(file) as old:
            for member in old.namelist():
                made.writestr(member, old.read(member))
        made.writestr("zeros", bytes(100 << 20))
    bomb = open_checkpoint(tmp_path / "b")
    tracemalloc.start()
    try:
        check_member(bomb, "zeros")
        assert tracemalloc.get_traced_memory()[1] < 4 * archive.CHUNK
    finally:
        tracemalloc.stop()


def test_a_directory_of_a_million_members_is_not_read(tmp_path: Path) -> None:
    entry = writer.central_header("m", writer.Bytes(b""), 0, 0)
    entries = entry * ((5 << 20) // len(entry))
    data = b"PK\3\4" + entries + writer.directory_end(65535, 4, len(entries))
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(CheckpointError, match="too many members"):
        open_checkpoint(tmp_path / "a")


def zip64_offset(file: Path, value: int) -> bytes:
    """The file, with a directory whose last entry says that its header is at `value`."""
    data = file.read_bytes()
    last, end = data.rindex(b"PK\1\2"), data.rindex(b"PK\5\6")
    entry = bytearray(data[last:end])
    entry[42:46] = b"\xff" * 4
    entry[30:32] = (12).to_bytes(2, "little")
    entry += (1).to_bytes(2, "little") + (8).to_bytes(2, "little") + value.to_bytes(8, "little")
    tail = bytearray(data[end:])
    tail[12:16] = (int.from_bytes(tail[12:16], "little") + 12).to_bytes(4, "little")
    return data[:last] + entry + tail


@pytest.mark.parametrize("offset", [2**64 - 1, 2**63, 2**63 - 1, 2**40])
def test_an_offset_beyond_the_file_is_refused(file: Path, tmp_path: Path, offset: int) -> None:
    (tmp_path / "a").write_bytes(zip64_offset(file, offset))
    with pytest.raises(CheckpointError, match=r"header of 'code\.diff' is not"):
        open_checkpoint(tmp_path / "a")


def manifest_with(file: Path, target: Path, **changes: object) -> Path:
    """A copy whose manifest says something else, with whatever JSON that takes."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "manifest.json":
                data = json.dumps(json.loads(data) | changes).encode()
            new.writestr(name, data)
    return target


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("env", "\ud800"),
        ("env", {"\ud800": 1}),
        ("env", nested(400)),
        ("env", nested(65)),
        ("metadata", {"a": nested(65)}),
        ("env", 1 << 9000),
        ("repo", "https://h/a\nsaved   yesterday"),
        ("repo", ""),
        ("repo", "https://h/a\u202e"),
        ("roots", ["src\x1b[2J"]),
        ("roots", ["\ud800"]),
        ("modules", ["a\u2028b"]),
        ("include", ["a\nb"]),
        ("left_out", ["a\u202eb"]),
        ("created", "now\r"),
        ("codevault", "\x07"),
        ("packages", {"": "1"}),
        ("packages", {"a/../b": "1"}),
        ("packages", {"torch\n": "1"}),
        ("packages", {"torch": "1; rm -rf ~"}),
        ("packages", {"torch": ""}),
        ("packages", {f"p{i}": "1" for i in range(5000)}),
    ],
)
def test_a_manifest_that_cannot_be_shown_or_written_is_refused(
    file: Path, tmp_path: Path, field: str, value: object
) -> None:
    with pytest.raises(CheckpointError, match=field) as caught:
        open_checkpoint(manifest_with(file, tmp_path / "a", **{field: value}))
    assert caught.value.why.isprintable()
    manifest = save(tmp_path / "other", probe=None)
    given = tuple(value) if isinstance(value, list) and field != "env" else value
    prepared = prepare({})
    odd = manifest.model_copy(update={"weights": prepared.sha256, field: given})
    with pytest.raises(CaptureError, match="no manifest can hold this"):
        write_checkpoint(tmp_path / "b", manifest=odd, architecture=ARCHITECTURE, weights=prepared)


def test_what_packages_and_paths_are_called_is_not_refused(file: Path, tmp_path: Path) -> None:
    packages = {"ruamel.yaml": "0.18.6", "torch": "2.13.0+cpu", "a": "1!2.0rc1.post2", "b": "2004d"}
    paths = ["données/ü.txt", "全角\u3000空白.bin", "a b", "👩\u200d🔬.png"]
    path = manifest_with(file, tmp_path / "a", packages=packages, left_out=paths, env=nested(64))
    manifest = open_checkpoint(path).manifest
    assert (manifest.packages, list(manifest.left_out)) == (packages, paths)


@pytest.mark.parametrize("value", [nested(900), "\n\n", 1.0, True, None, {}])
def test_a_strange_version_is_refused_in_one_line(
    file: Path, tmp_path: Path, value: object
) -> None:
    path = manifest_with(file, tmp_path / "a", format=value, codevault="9\nwhy: none")
    with pytest.raises(FormatVersionError) as caught:
        open_checkpoint(path)
    assert "\n" not in caught.value.what + caught.value.why


def test_a_manifest_of_millions_of_values_is_not_parsed(file: Path, tmp_path: Path) -> None:
    path = manifest_with(file, tmp_path / "a", env=[[]] * 2_500_000)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="more than 1,000,000 values"):
            open_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_metadata_that_is_no_json_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    prepared = prepare({})
    manifest = save(tmp_path / "other", probe=None)
    for metadata in ({"a": object()}, {"a": nested(300)}):
        odd = manifest.model_copy(update={"weights": prepared.sha256, "metadata": metadata})
        with pytest.raises(CaptureError, match="no manifest can hold this"):
            write_checkpoint(
                tmp_path / "a", manifest=odd, architecture=ARCHITECTURE, weights=prepared
            )
    assert os.listdir(tmp_path) == ["other"]


def test_an_unknown_version_and_missing_members_are_named(file: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "new", "w") as made:
        for name in ORDER[:3]:
            made.writestr(name, b'{"format": 99, "codevault": "9.0"}')
    with pytest.raises(FormatVersionError, match=r"codevault 9\.0"):
        open_checkpoint(tmp_path / "new")
    with zipfile.ZipFile(tmp_path / "part", "w") as made:
        made.writestr("manifest.json", b"{}")
    with pytest.raises(CheckpointError, match=r"without policy_architecture.yaml, weights"):
        open_checkpoint(tmp_path / "part")
    with pytest.raises(CheckpointError, match="has no nothing"):
        read_member(open_checkpoint(file), "nothing")


def test_a_changed_member_is_refused_even_with_a_right_crc(file: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(tmp_path / "a", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, b"class_path: os.system\n" if name.endswith("yaml") else data)
    with pytest.raises(CheckpointError, match="sha256"):
        read_member(open_checkpoint(tmp_path / "a"), "policy_architecture.yaml")


def test_truncation_anywhere_is_an_error_of_ours(file: Path, tmp_path: Path) -> None:
    whole, path = file.read_bytes(), tmp_path / "cut"
    for length in range(4, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(TruncatedError):
            use(path)
    for length in range(4):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            use(path)


def test_a_flipped_byte_anywhere_is_found_or_harmless(file: Path, tmp_path: Path) -> None:
    whole, path = file.read_bytes(), tmp_path / "flipped"
    sound = {name: tensor.clone() for name, tensor in map_weights(use(file)).items()}
    found = 0
    # Every 31st byte, and all those that are not the zeros of the padding.
    places = {*range(0, len(whole), 31), *(i for i, byte in enumerate(whole) if byte)}
    for place in sorted(places):
        data = bytearray(whole)
        data[place] ^= 1 << random.Random(place).randrange(8)
        path.write_bytes(data)
        try:
            tensors = map_weights(use(path))
        except CodevaultError:
            found += 1
        else:
            assert tensors.keys() == sound.keys()
            assert all(torch.equal(tensors[name], sound[name]) for name in sound), place
    assert found > 1000
