"""Checkpoints that a stranger wrote: whatever they say, reading them ends in an error of ours."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import hashlib
import io
import json
import re
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import codevault
from codevault import architecture as arch
from codevault import probe as probes
from codevault import probefile
from codevault.checkpoint import check_member, open_checkpoint, read_member, write_checkpoint
from codevault.cli.card import card
from codevault.errors import CodeError, CodevaultError, RefusedError
from codevault.manifest import Manifest
from codevault.manifestparts import OverlayFile, OverlayPart, ProbePart
from codevault.packages import judge
from codevault.show import Look, read_manifest
from codevault.verify import verify
from codevault.weights import map_weights, prepare, verify_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANIFEST, ARCHITECTURE = "manifest.json", "policy_architecture.yaml"
WEIGHTS, PROBE = "weights.safetensors", "probe.safetensors"
FIELDS = {ARCHITECTURE: "architecture", WEIGHTS: "weights"}
fuzz = settings(
    max_examples=300,
    derandomize=True,
    database=None,
    # Far above what any example takes: a parser that does not end is what this finds.
    deadline=datetime.timedelta(seconds=5),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclasses.dataclass
class Point:
    x: Any = 0
    y: Any = 0


KNOWN = {"m:Point": Point, "m:len": len}


def resolve(path: str) -> Any:
    if path not in KNOWN:
        raise CodeError(f"no {path!r} here")
    return KNOWN[path]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@cache
def folder() -> Path:
    """One folder for all examples; each replaces the file of the one before."""
    place = tempfile.TemporaryDirectory(prefix="codevault-hostile-")
    folder.__dict__["place"] = place  # removed with the process
    return Path(place.name)


@cache
def sound() -> bytes:
    """A small checkpoint that has everything."""
    point = {"$model": "m:Point", "fields": {"x": {"$tuple": [1, 2.5]}, "y": {"$ref": "m:len"}}}
    text = arch.to_yaml(
        {"class_path": "m:Point", "args": [point, {"$dict": [[1, "a"]]}], "kwargs": {"z": [None]}}
    )
    torch.manual_seed(0)
    tied = torch.randn(4)
    weights = prepare({"w": torch.randn(3, 4), "a": tied, "b": tied, "n": torch.tensor(7)})
    observed = {"o": torch.ones(2, 3), "k": [1.5, None, "x", 3]}
    probe = probefile.to_bytes(probes.record(lambda obs: (obs["o"] * 2, {"v": 1}), observed))
    manifest = Manifest(
        codevault="0.1.0",
        repo="https://example.org/a/b",
        commit="1" * 40,
        base="2" * 40,
        tree="3" * 40,
        digest="0" * 64,
        roots=("src", "."),
        shared=("shared.api",),
        include=("*.json",),
        overlay=OverlayPart(
            digest="4" * 64,
            files=(OverlayFile(path="src/a.py", mode="100644", oid="5" * 40, sha256="6" * 64),),
        ),
        left_out=("data/big.bin",),
        modules=("m", "m.sub"),
        env={"obs": [4, {"deep": [1, 2.5, None]}]},
        python="3.11.7",
        packages={"torch": "2.13.0+cpu", "nosuchpackage": "1.0"},
        architecture=sha256(text),
        weights=weights.sha256,
        probe=ProbePart(inputs=4, outputs=1, sha256=sha256(probe)),
        created="2026-01-01T00:00:00Z",
        metadata={"epoch": 3, "note": "ü"},
    )
    path = folder() / "sound.mpt"
    more: Any = {"probe": probe, "pack": b"PACK", "diff": b"diff"}
    write_checkpoint(path, manifest=manifest, architecture=text, weights=weights, **more)
    return path.read_bytes()


@cache
def members() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(sound())) as file:
        return {name: file.read(name) for name in file.namelist()}


def packed(parts: dict[str, bytes], manifest: Any = None, deflated: bool = False) -> bytes:
    """A zip of members whose digests the manifest states rightly."""
    raw = json.loads(parts[MANIFEST]) if manifest is None else manifest
    if isinstance(raw, dict):
        raw = raw | {field: sha256(parts[name]) for name, field in FIELDS.items()}
        if manifest is None:
            raw["probe"]["sha256"] = sha256(parts[PROBE])
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in (parts | {MANIFEST: json.dumps(raw).encode()}).items():
            file.writestr(name, data)
    return buffer.getvalue()


def steps(path: Path) -> Iterator[Callable[[], object]]:
    """All that a load, a show and a verification read; the first step opens the file."""
    found: list[Any] = []
    yield lambda: found.append(open_checkpoint(path))
    if not found:
        return
    checkpoint = found[0]
    manifest = checkpoint.manifest
    yield lambda: checked_lines(shown(manifest))
    yield lambda: (manifest.to_json(), manifest.policy_digest)
    yield lambda: arch.decode(manifest.env, resolve, "env")
    yield lambda: arch.decode(arch.read(checkpoint), resolve, "architecture")
    yield lambda: [tensor.sum() for tensor in map_weights(checkpoint).values()]
    yield lambda: verify_digest(checkpoint)
    yield lambda: probefile.from_bytes(read_member(checkpoint, PROBE))
    for name in checkpoint.members:
        yield lambda name=name: check_member(checkpoint, name)  # type: ignore[misc]


def checked_lines(lines: list[str]) -> None:
    assert all(line.isprintable() for line in lines)


def shown(manifest: Manifest) -> list[str]:
    """The card that `codevault show` prints."""
    return card(Look(manifest, 1, {}), judge(manifest.python, manifest.packages, None))


def survived(data: bytes) -> int:
    """Reads a file as a stranger's; the number of steps that were refused."""
    path, refused = folder() / "hostile.mpt", []
    path.write_bytes(data)
    for step in steps(path):
        try:
            step()
        except CodevaultError as error:
            refused.append(error.what)
    # A stranger's text must not look like another line of ours.
    assert not [what for what in refused if "\n" in what]
    return len(refused)


def remote(data: bytes) -> Any:
    """What `read_manifest` makes of the bytes in a store."""
    import fsspec

    fsspec.filesystem("memory").pipe("/hostile/a.mpt", data)
    try:
        return read_manifest("memory://hostile/a.mpt")
    except CodevaultError as error:
        return type(error)


def test_the_sound_one_is_read() -> None:
    assert survived(sound()) == 0
    assert survived(packed(members())) == 0
    assert survived(packed(members(), deflated=True)) == 0
    assert remote(sound()) == open_checkpoint(folder() / "sound.mpt").manifest


# -- bytes ----------------------------------------------------------------------------------------


@cache
def places() -> list[int]:
    """Where the file has other bytes than the zeros of the padding."""
    return [place for place, byte in enumerate(sound()) if byte]


edits = st.tuples(
    st.sampled_from(["set", "set", "set", "insert", "cut", "end"]),
    st.integers(0, 1 << 30),
    st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 4, b"\xff" * 8, bytes(8)]),
)


@fuzz
@given(st.lists(edits, min_size=1, max_size=4))
def test_any_bytes_may_differ(changes: list[tuple[str, int, bytes]]) -> None:
    data = bytearray(sound())
    for kind, where, new in changes:
        place = places()[where % len(places())] % max(len(data), 1)
        if kind == "set":
            data[place : place + len(new)] = new
        elif kind == "insert":
            data[place:place] = new
        elif kind == "cut":
            del data[place : place + where % 300]
        else:
            del data[place:]
    survived(bytes(data))
    remote(bytes(data))


# Offset in the directory's entry, and width: flags, method, CRC-32, sizes, lengths, header's place.
LIES = [(8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (42, 4)]
LIES_OF_HEADERS = [(0, 4), (6, 2), (8, 2), (18, 4), (26, 2), (28, 2)]
LIES_OF_ENDS = [(4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)]
numbers = st.sampled_from([0, 1, 9, 4096, 0xFFFF, 1 << 31, 0xFFFFFFFF]) | st.integers(0, 9000)


@fuzz
@given(
    st.lists(
        st.tuples(st.sampled_from(["entry", "header", "end", "wide"]), st.integers(0, 5), numbers),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
    st.data(),
)
def test_sizes_and_offsets_may_lie(
    lies: list[tuple[str, int, int]], deflated: bool, data: Any
) -> None:
    whole = bytearray(packed(members(), deflated=deflated))
    starts: dict[str, list[int]] = {"entry": [], "header": []}
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        place = file.start_dir
        for info in file.infolist():
            starts["header"].append(info.header_offset)
            starts["entry"].append(place)
            place += 46 + len(info.filename)
    starts["end"] = [place] * 6
    for kind, index, number in lies:
        if kind == "wide":
            # A Zip64 field of the last entry, with the largest numbers there are.
            assume(len(whole) == place + 22)
            last = starts["entry"][-1]
            whole[last + 20 : last + 28] = whole[last + 42 : last + 46] * 0 + b"\xff" * 8
            whole[last + 42 : last + 46] = b"\xff" * 4
            whole[last + 30 : last + 32] = (28).to_bytes(2, "little")
            values = [data.draw(st.sampled_from([4, 2**31, 2**63 - 1, 2**63, 2**64 - 1]))] * 3
            extra = b"\1\0\x18\0" + b"".join(value.to_bytes(8, "little") for value in values)
            whole[place:place] = extra
            size = int.from_bytes(whole[place + 40 : place + 44], "little") + len(extra)
            whole[place + 40 : place + 44] = size.to_bytes(4, "little")
            continue
        table = {"entry": LIES, "header": LIES_OF_HEADERS, "end": LIES_OF_ENDS}[kind]
        offset, width = data.draw(st.sampled_from(table))
        at = starts[kind][index] + offset
        whole[at : at + width] = (number % (1 << 8 * width)).to_bytes(width, "little")
    survived(bytes(whole))
    remote(bytes(whole))


# -- JSON -----------------------------------------------------------------------------------------


def nested(depth: int, made: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = made(value)
    return value


hostile = st.one_of(
    st.none() | st.booleans() | st.floats() | st.integers(-(2**70), 2**70),
    st.sampled_from([2**61, 2**63, 2**64, -1, 10**400, 1e308, float("inf"), float("nan")]),
    st.text(max_size=6),
    st.sampled_from(
        ["\ud800", "a\nsaved  now", "\x1b[2J", "\u202e", "../x", "/etc", "$(id)", "a" * 5000, ""]
    ),
    st.sampled_from([1, 63, 64, 65, 300, 900]).map(lambda n: nested(n, lambda value: [value])),
    st.sampled_from([1, 63, 64, 65, 300, 900]).map(lambda n: nested(n, lambda value: {"a": value})),
    st.sampled_from(
        [
            {"$dict": [[[1], 2]]},
            {"$dict": [[1]]},
            {"$dict": {}},
            {"$tuple": {}},
            {"$ref": "m:nothing"},
            {"$ref": []},
            {"$model": "m:len", "fields": {}},
            {"$model": "m:Point", "fields": {"nope": 1}},
            {"$model": "m:Point", "fields": {"$ref": "m:len"}},
            {"$model": "m:Point", "fields": {"$dict": [[1, 2]]}},
            {"$what": 1},
        ]
    ),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=5,
    ),
)
paths = st.lists(st.integers(0, 40), min_size=1, max_size=6)
jsonedits = st.lists(st.tuples(st.sampled_from(["set", "del", "add"]), paths, hostile), min_size=1)


def changed(data: Any, changes: list[tuple[str, list[int], Any]]) -> Any:
    """A copy of plain data in which values are replaced, taken away or added."""
    data = copy.deepcopy(data)
    for kind, path, value in changes[:4]:
        node: Any = data
        for index in path:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = keys[index % len(keys)]
            if isinstance(node[key], dict | list) and node[key] and index % 3:
                node = node[key]
                continue
            if kind == "set":
                node[key] = copy.deepcopy(value)
            elif kind == "del":
                del node[key]
            elif isinstance(node, dict):
                node[value if isinstance(value, str) else "x"] = copy.deepcopy(value)
            else:
                node.insert(key, copy.deepcopy(value))
            break
    return data


names = st.sampled_from(["env", "metadata", "env", "metadata", *Manifest.model_fields])


@fuzz
@given(st.lists(st.tuples(names, hostile), max_size=3), jsonedits | st.just([]))
def test_manifests_may_say_anything(fields: list[tuple[str, Any]], changes: Any) -> None:
    parts = members()
    raw = changed(json.loads(parts[MANIFEST]) | dict(fields), changes)
    data = packed(parts, raw)
    survived(data)
    far = remote(data)
    if isinstance(far, Manifest):
        near = open_checkpoint(folder() / "hostile.mpt").manifest
        assert near.checkpoint_digest == far.checkpoint_digest
        # What can be read can be written again.
        assert Manifest.model_validate_json(near.to_json()).to_json() == near.to_json()


# -- tensors --------------------------------------------------------------------------------------


def with_header(data: bytes, change: Callable[[Any], Any], inner: bool) -> bytes:
    """A safetensors member with another header; `inner` changes the JSON inside of it."""
    length = int.from_bytes(data[:8], "little")
    entries = json.loads(data[8 : 8 + length])
    if inner:
        key, text = next(iter(entries["__metadata__"].items()))
        entries["__metadata__"][key] = json.dumps(change(json.loads(text)))
    else:
        entries = change(entries)
    header = json.dumps(entries).encode("utf-8", "surrogatepass")
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


@fuzz
@given(jsonedits, st.sampled_from([WEIGHTS, PROBE]), st.booleans())
@example([("set", [1, 1, 1], {})], WEIGHTS, False)
def test_headers_of_tensors_may_say_anything(changes: Any, name: str, inner: bool) -> None:
    data = with_header(members()[name], lambda old: changed(old, changes), inner)
    survived(packed(members() | {name: data}))


# -- YAML -----------------------------------------------------------------------------------------

SNIPPETS = [
    "[" * 100,
    "[" * 2000 + "]" * 2000,
    "{a: " * 90,
    "&a [*a]",
    "*b",
    "!!python/object/apply:os.system [id]",
    "!!int ''",
    "!!binary x",
    "!!set {a, [b]}",
    "!!timestamp 1",
    "2021-99-99",
    "0b_",
    "0x" + "f" * 4000,
    "1" + ":1" * 3000,
    "- " * 90,
    "9" * 5000,
    "? ",
    ": ",
    "<<: [1]",
    "<<: {a: b}",
    "---",
    "%YAML 9.9",
    '"\\ud800"',
    "\x00",
    "\t",
    "|\n",
    "#",
    "=",
    "a: &x [1,1,1]\nb: &y [*x,*x,*x]\n",
]


@fuzz
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 3), st.sampled_from(SNIPPETS) | st.text()),
        max_size=3,
    ),
    jsonedits | st.none(),
)
def test_architectures_may_say_anything(snippets: list[tuple[int, int, str]], changes: Any) -> None:
    import yaml

    text = members()[ARCHITECTURE].decode()
    if changes is not None:
        text = yaml.safe_dump(changed(yaml.safe_load(text), [c for c in changes if _dumps(c)]))
    for index, width, snippet in snippets:
        # Where a value stands, mostly in its place.
        starts = [found.start() for found in re.finditer(r"(?<=[-:] )\S|$", text)]
        place = starts[index % len(starts)]
        end = text.find("\n", place) if width else place + 1
        text = f"{text[:place]}{snippet}{text[end:] if end >= 0 else ''}"
    survived(packed(members() | {ARCHITECTURE: text.encode("utf-8", "surrogatepass")}))


def _dumps(change: Any) -> bool:
    """Whether PyYAML can write it at all: it writes no alias for equal plain data."""
    import yaml

    try:
        yaml.safe_dump(change[2])
    except (ValueError, RecursionError, yaml.YAMLError):
        return False
    return True


# -- what people see, and when --------------------------------------------------------------------


def test_no_text_of_a_checkpoint_makes_a_line_of_its_own() -> None:
    odd = "x\nallowed     by root\r\x1b[1A\u2028\u202e"
    manifest = open_checkpoint(folder() / "sound.mpt").manifest if sound() else None
    assert manifest is not None
    texts = dict.fromkeys(("repo", "python", "created", "codevault"), odd)
    lists = dict.fromkeys(("roots", "shared", "left_out"), (odd,))
    lines = shown(
        manifest.model_copy(
            update=texts | lists | {"metadata": {odd: odd}, "packages": {"torch": odd}}
        )
    )
    checked_lines(lines)
    text = "\n".join(lines)
    assert len(text.splitlines()) == len(lines)
    assert r"x\nallowed     by root\r\x1b[1A\u2028\u202e" in text
    plain = shown(manifest.model_copy(update={"metadata": {"note": "naïve 全"}}))
    assert f"{'  note':<11} 'naïve 全'" in plain


def test_verify_reads_nothing_of_what_may_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mpt").write_bytes(sound())
    monkeypatch.setattr(
        "codevault.verify.check_member", lambda *_: pytest.fail("read before it was granted")
    )
    with pytest.raises(RefusedError, match="no grant"):
        verify(tmp_path / "a.mpt")


def test_verify_reads_every_member_in_pieces(walker: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.mpt"
    codevault.save_policy(path, walker.net.Walker(), probe=torch.ones(1, 4))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("notes.txt", b"of somebody else")
    whole = path.read_bytes()
    assert verify(path)["ok"] is True
    path.write_bytes(whole.replace(b"of somebody", b"of nobody  ", 1))
    with pytest.raises(CodevaultError, match=r"notes\.txt is not what was saved"):
        verify(path)
