"""Names, digests and records are the same in every process, and strict."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codevault_cache import (
    Overlay,
    Snapshot,
    Wanted,
    errors,
    overlay_entries,
    overlay_from,
    overlay_of,
    spec12,
)
from codevault_cache.gitobjects import object_id, read_pack, write_pack
from codevault_cache.pack import digest_of, encode, header_length, parse_header
from codevault_cache.selection import default_roots, pattern_of, roots_of, selection_of, stated_in
from codevault_cache.treepaths import check_path, check_paths, path_spelled, problem, spelled_out

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12
)
BYTES = st.binary(min_size=1, max_size=8).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
PATHS = (
    st.lists(TEXT | BYTES, min_size=1, max_size=4)
    .map("/".join)
    .filter(lambda path: problem(path) is None)
)
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)


def snapshots() -> st.SearchStrategy[Snapshot]:
    return st.builds(
        Snapshot,
        commit=st.none() | HEX | HEX.map(lambda h: h[:40]),
        roots=st.lists(TEXT, min_size=1, max_size=3).map(tuple),
        shared=TEXTS,
        include=TEXTS,
        overlay=st.none() | HEX,
        digest=HEX,
        repo=st.none() | TEXT,
        left_out=TEXTS,
    )


def test_spec12_is_what_the_design_says() -> None:
    text = '{"include":["*.yaml"],"overlay":null,"roots":["src","."],"shared":["env"]}'
    expected = hashlib.sha256(text.encode()).hexdigest()[:12]
    assert spec12(("src", "."), ("env",), ("*.yaml",), None) == expected


def test_the_name_has_a_fixed_width_and_uses_the_digest_without_a_commit() -> None:
    snapshot = Snapshot("c" * 40, (".",), (), (), None, "d" * 64)
    assert snapshot.name == "_splint_" + "c" * 12 + "_" + spec12((".",), (), (), None)
    assert Snapshot(None, (".",), (), (), None, "d" * 64).name.startswith("_splint_dddddddddddd_")


@given(snapshots())
def test_a_record_reads_back_equal(snapshot: Snapshot) -> None:
    data = snapshot.to_json()
    assert Snapshot.from_json(data) == snapshot
    assert Snapshot.from_json(data).to_json() == data


def test_I1_every_flipped_byte_of_a_record_is_noticed() -> None:
    data = Snapshot(
        "c" * 40, ("src",), ("env",), (), None, "d" * 64, "https://h/r", ("a",)
    ).to_json()
    for i in range(len(data)):
        for bit in (1, 32):
            bad = data[:i] + bytes([data[i] ^ bit]) + data[i + 1 :]
            with pytest.raises(errors.CorruptEntry):
                Snapshot.from_json(bad)
    for bad in (b"", data[:-1], data + b" ", b"[]", b"null", b"[" * 100_000):
        with pytest.raises(errors.CorruptEntry):
            Snapshot.from_json(bad)


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "..",
        "a/..",
        "../a",
        "/a",
        "a//b",
        "a/",
        "a\\b",
        "a\nb",
        "a\x1bb",
        "a\x7f",
        "a\x85b",
        ".git",
        ".GIT/x",
        "a/.git/b",
        "git~1",
        "GIT~2/x",
        ".git ",
        ".git.",
        ".g\u200cit",
        ".git::$INDEX",
        "C:evil.py",
        "a.py::$DATA",
        "a" * 256,
        "/".join(["a" * 99] * 50),
        "/".join("a" * 70),
    ],
)
def test_I10_unsafe_paths_are_refused(path: str) -> None:
    with pytest.raises(errors.UnsafeName) as caught:
        check_path(path)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value).splitlines()[0]


@pytest.mark.parametrize(
    "path",
    ["prn.sh", "con.py", "a b.py", ".gitignore", "é.py", "x.py.", "a" * 255, "-x", ".github/a"],
)
def test_honest_paths_pass(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff" * 256,
        b".g\xffit",
        b".git\xff",
        b"a/\xff../b",
        b"\xff.",
        b"\xc0\xae\xc0\xae",
        b"\xe0\x80\xae.",
        b"\xf0\x80\x80\xae\xf8\x80\x80\x80\xae",
        b".\xc1\xa7it",
        b"a\xc0\xafb",
        b"a\xc1\x9cb",
        b"a\xc0\x80",
        b"C\xff:x",
        b"\xff\n",
        b"\xff\\",
        b"\xff" * 200 + b"/" + b"/".join([b"\xff" * 100] * 40),
    ],
)
def test_I10_unsafe_names_of_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(errors.UnsafeName) as caught:
        check_path(os.fsdecode(raw))
    str(caught.value).encode()
    assert str(caught.value).replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "raw", [b"\xff.py", b"caf\xe9/\xc6\xc1\xca\xcc", b"\x9b", b"\xff" * 255, "é".encode() + b"\xe9"]
)
def test_honest_names_of_bytes_pass(raw: bytes) -> None:
    assert check_path(os.fsdecode(raw)) == os.fsdecode(raw)
    assert path_spelled(spelled_out(os.fsdecode(raw))) == os.fsdecode(raw)


def test_surrogates_that_no_name_is_read_as_are_refused() -> None:
    # The second and third would be written to the disk as the letter é.
    for path in ("\ud800", "\udcc3\udca9", "caf\udcc3\udca9.txt", "\udc7f"):
        with pytest.raises(errors.UnsafeName):
            check_path(path)
    for text in ("\ud800", "caf\udce9", "\\xc3\\xa9", "\\xE9", "\\x41", "\\xe9\udce9"):
        with pytest.raises(errors.UnsafeName):
            check_path(path_spelled(text))


def test_names_of_bytes_clash_by_their_letters() -> None:
    for raws in (
        (b"A\xff", b"a\xff"),
        (b"\xff", b"\xff/a"),
        ("e\u0301".encode() + b"\xff", b"\xc3\xa9\xff"),
    ):
        with pytest.raises(errors.UnsafeName):
            check_paths(map(os.fsdecode, raws))
    check_paths(map(os.fsdecode, (b"\xe9", b"\xc9", "é".encode(), b"\xc3", b"\xa9")))


@given(st.lists(BYTES, min_size=2, max_size=2, unique=True))
def test_two_names_never_have_one_digest(names: list[str]) -> None:
    one, two = ({name: (0o100644, b"")} for name in names)
    assert digest_of(one) != digest_of(two)
    assert spelled_out(names[0]) != spelled_out(names[1]) or "\\" in "".join(names)


@pytest.mark.parametrize(
    "paths",
    [("A.py", "a.py"), ("e\u0301.py", "\u00e9.py"), ("A/x", "a/y"), ("a", "a/b"), ("ß", "SS")],
)
def test_clashing_paths_are_refused(paths: tuple[str, ...]) -> None:
    with pytest.raises(errors.UnsafeName):
        check_paths(paths)


@given(
    st.dictionaries(PATHS, st.tuples(st.sampled_from([0o100644, 0o100755]), st.binary(max_size=40)))
)
def test_I13_packs_are_deterministic_and_read_back(files: dict[str, tuple[int, bytes]]) -> None:
    digest, pieces = encode(files)
    data = b"".join(pieces)
    again = dict(reversed(files.items()))
    assert (digest, data) == (encode(again)[0], b"".join(encode(again)[1]))
    assert digest == digest_of(files)
    header = parse_header(data[12 : 12 + header_length(data)])
    assert (header.digest, header.size) == (digest, len(data))
    for path, member in header.members.items():
        content = data[member.offset : member.offset + member.length]
        assert (member.mode, content) == files[path]


def test_the_digest_is_of_the_documented_listing() -> None:
    files = {"b.py": (0o100755, b"2"), "a/é.py": (0o100644, b"1")}
    one, two = (hashlib.sha256(x).hexdigest() for x in (b"1", b"2"))
    listing = f"codevault-listing-1\n100644 {one} a/é.py\n100755 {two} b.py\n"
    assert digest_of(files) == hashlib.sha256(listing.encode()).hexdigest()


def test_names_of_bytes_stand_in_listings_as_they_are() -> None:
    one = hashlib.sha256(b"1").hexdigest().encode()
    raws = (b"a/\x9b", "a/é".encode(), b"a/\xe9")  # in the order of their bytes: 9b, c3, e9
    names = [os.fsdecode(raw) for raw in raws]
    files = dict.fromkeys(reversed(names), (0o100644, b"1"))
    listing = b"".join(b"100644 " + one + b" " + raw + b"\n" for raw in raws)
    digest = hashlib.sha256(b"codevault-listing-1\n" + listing).hexdigest()
    made, pieces = encode(files)
    header = b"".join(b"100644 " + one + b" 1 " + raw + b"\n" for raw in raws)
    assert (made, digest_of(files)) == (digest, digest)
    assert b"".join(pieces)[12:] == header + b"111"
    assert list(parse_header(header).members) == names
    overlay = Overlay({names[2]: None, names[0]: (0o100644, b"1")})
    text = b"codevault-overlay-1\n100644 " + one + b" a/\x9b\ndeleted a/\xe9\n"
    assert overlay.digest == hashlib.sha256(text).hexdigest()
    assert [entry["path"] for entry in overlay_entries(overlay)] == [r"a/\x9b", r"a/\xe9"]


@given(st.dictionaries(PATHS, st.none() | st.binary(max_size=30), max_size=5))
def test_an_overlay_survives_its_manifest(contents: dict[str, bytes | None]) -> None:
    files = {p: None if c is None else (0o100644, c) for p, c in contents.items()}
    overlay = Overlay(files)
    entries = json.loads(json.dumps(overlay_entries(overlay)))
    pack = write_pack([("blob", c) for c in contents.values() if c is not None])
    back = overlay_from(entries, pack)
    assert back == overlay
    assert back.digest == overlay.digest


def test_overlay_entries_are_checked_against_both_hashes() -> None:
    overlay = overlay_of({"a.py": "x"})
    entries = overlay_entries(overlay)
    assert entries[0]["oid"] == object_id("blob", b"x")
    with pytest.raises(errors.HostileObject):
        overlay_from(entries, write_pack([("blob", b"y")]))
    with pytest.raises(errors.HostileObject):
        overlay_from([{**entries[0], "sha256": "0" * 64}], write_pack([("blob", b"x")]))
    with pytest.raises(errors.HostileObject):
        overlay_from([*entries, *entries], write_pack([("blob", b"x")]))
    with pytest.raises(errors.UnsafeName):
        overlay_from([{**entries[0], "path": "../a.py"}], write_pack([("blob", b"x")]))


@given(
    st.lists(
        st.tuples(st.sampled_from(["blob", "tree", "commit"]), st.binary(max_size=200)), max_size=6
    )
)
def test_travelling_packs_read_back(objects: list[tuple[str, bytes]]) -> None:
    found = read_pack(write_pack(objects))
    assert found == {object_id(kind, content): (kind, content) for kind, content in objects}


def test_travelling_packs_are_read_by_git_and_every_flip_is_noticed(make_repo: Any) -> None:
    pack = write_pack([("blob", b"x" * 5000), ("blob", b"")])
    repo = make_repo()
    repo.git("index-pack", "--stdin", "--strict", data=pack)
    assert repo.git("cat-file", "blob", object_id("blob", b"x" * 5000)) == "x" * 5000
    for i in range(len(pack)):
        with pytest.raises(errors.CacheError):
            read_pack(pack[:i] + bytes([pack[i] ^ 1]) + pack[i + 1 :])


def _resealed(body: bytes) -> bytes:
    return body + hashlib.sha1(body).digest()


def test_travelling_packs_that_lie_are_refused() -> None:
    good = write_pack([("blob", b"x" * 100)])[:-20]
    bombs = {
        "slack": good + b"junk",
        "count": good[:8] + (2).to_bytes(4, "big") + good[12:],
        "huge count": good[:8] + b"\xff" * 4 + good[12:],
        "short size": good[:12] + bytes([0x31]) + good[14:],
        "delta": good[:12] + bytes([good[12] | 0x70]) + good[13:],
        "cut": good[:-4],
        "no pack": b"PUCK" + good[4:],
    }
    for body in bombs.values():
        with pytest.raises(errors.CacheError):
            read_pack(_resealed(body))


def test_wanted_has_one_form() -> None:
    wanted = Wanted("r", "a" * 40, roots=["./src/", "src", "."], include=["./data/"])  # type: ignore[arg-type]
    assert wanted.roots == ("src", ".")
    assert wanted.include == ("data/**",)
    assert Wanted("r", "a" * 40, overlay=Overlay({})).overlay is None
    assert roots_of(["", "a/b/"]) == (".", "a/b")
    for root in ("/abs", "../up", "a/../b", ".git", "a\\b"):
        with pytest.raises(errors.UnsafeName):
            roots_of([root])
    for glob in ("/abs", "../x", "a\\b", "", "[z-a]"):
        with pytest.raises(errors.UnsafeName):
            Wanted("r", "a" * 40, include=(glob,))


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("*.py", ["a.py"], ["a/b.py", "a.pyx"]),
        ("**/*.py", ["a.py", "x/y/a.py"], ["a.txt"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b/a/c"]),
        ("a/**/z", ["a/z", "a/b/c/z"], ["az"]),
        ("a?[bc].[!d]", ["axb.e"], ["a/b.e", "axd.e", "axb.d"]),
        ("a.b", ["a.b"], ["axb"]),
    ],
)
def test_globs(glob: str, yes: list[str], no: list[str]) -> None:
    pattern = pattern_of(glob)
    assert all(pattern.fullmatch(path) for path in yes)
    assert not any(pattern.fullmatch(path) for path in no)


def test_selection_walks_no_further_than_needed() -> None:
    selection = selection_of(("a/b",), ("conf/**/*.yaml", "x.txt"))
    assert all(selection.descends(f) for f in ("", "a", "a/b", "a/b/c", "conf", "conf/x"))
    assert not any(selection.descends(f) for f in ("b", "a/c", "config", "a/b/__pycache__"))
    assert selection.takes("a/b/c.py")
    assert selection.takes("x.txt")
    assert not any(
        selection.takes(p) for p in ("a/b/x.pyc", "a/b/__pycache__/x", "a/bc.py", "y.txt")
    )


def test_default_roots_and_stated_ones() -> None:
    assert default_roots(["src/a.py"]) == ("src", ".")
    assert default_roots(["src/__init__.py", "src/a.py"]) == (".",)
    assert default_roots(["src/a.txt", "b.py"]) == (".",)
    stated = stated_in(b'[tool.codevault]\nroots=["a", "."]\nshared=[]\n')
    assert (stated.roots, stated.shared, stated.include) == (("a", "."), (), None)
    for nonsense in (
        None,
        b"\xff",
        b"[tool]\ncodevault=3",
        b"tool=1",
        b'[tool.codevault]\nroots="a"',
    ):
        assert stated_in(nonsense).roots is None
