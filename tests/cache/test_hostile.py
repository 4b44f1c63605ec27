"""What hostile input comes to: an error of ours, and nothing in the cache."""

from __future__ import annotations

import gzip
import io
import random
import socket
import subprocess
import tarfile
import threading
import time
import tracemalloc
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from codevault_cache import Cache, Wanted, errors, limits, overlay_of, public_url, warm
from codevault_cache.address import address_of
from codevault_cache.distarchive import archive_source
from codevault_cache.gitobjects import parse_tree
from codevault_cache.gittree import Objects, source_at
from codevault_cache.keep import keep
from codevault_cache.objectstores import read_only

if TYPE_CHECKING:
    from pathlib import Path


def line(mode: bytes, name: bytes, oid: str) -> bytes:
    return mode + b" " + name + b"\0" + bytes.fromhex(oid)


NAMES: dict[str, bytes] = {
    "dotdot": b"..",
    "dot": b".",
    "slash": b"a/../../evil.py",
    "absolute": b"/etc/x",
    "git": b".git",
    "GIT": b".GIT",
    "short": b"git~1",
    "git space": b".git ",
    "git dot": b".git.",
    "hfs": ".g\u200cit".encode(),
    "stream": b".git::$INDEX_ALLOCATION",
    "data stream": b"a.py::$DATA",
    "backslash": b"..\\evil.py",
    "drive": b"C:evil.py",
    "newline": b"a\nb.py",
    "escape": b"a\x1b[2J.py",
    "strange bytes in git": b".g\xffit",
    "overlong dots": b"\xc0\xae\xc0\xae",
    "overlong slash": b"a\xc0\xafb.py",
    "strange escape": b"\xff\x1b[2J.py",
    "strange and long": b"\xff" * 256,
    "long": b"a" * 5000,
    "empty": b"",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["bare", "http"])
def test_hostile_names_are_refused(
    name: str, kind: str, make_repo: Any, tmp_path: Path, cache: Cache, request: Any
) -> None:
    repo = make_repo({"ok.py": "x = 1\n"})
    blob = repo.git("rev-parse", "HEAD:ok.py")
    below = repo.hash_object("tree", line(b"100644", NAMES[name], blob))
    raw = line(b"100644", b"ok.py", blob) + line(b"40000", b"pkg", below)
    commit = repo.tree_commit(raw)
    address = str(repo.top)
    if kind == "http":
        repo.git("update-ref", "refs/heads/main", commit)
        server = request.getfixturevalue("http_server")(tmp_path)
        address = f"{server.url}/{repo.top.name}/.git"
    # git itself cannot serve a tree with an empty name.
    kinds = (
        errors.UnsafeName,
        errors.HostileObject,
        *([errors.Unreachable] if not NAMES[name] else []),
    )
    with pytest.raises(kinds) as caught:
        warm(cache, [Wanted(address, commit)])
    assert "\x1b" not in str(caught.value)
    assert cache.ls() == []
    # Beside the roots it does not matter.
    if kind == "http" and not NAMES[name]:
        return
    pkg = repo.hash_object("tree", line(b"100644", b"m.py", blob))
    raw = line(b"40000", b"bad", below) + line(b"40000", b"pkg", pkg)
    commit = repo.tree_commit(raw)
    if kind == "http":
        repo.git("update-ref", "refs/heads/main", commit)
    (snapshot,) = warm(cache, [Wanted(address, commit, roots=("pkg",))])
    assert snapshot.left_out == ()


def test_malformed_trees_are_refused(make_repo: Any, cache: Cache) -> None:
    repo = make_repo({"ok.py": "x = 1\n", "d/e.py": "y = 1\n"})
    blob, tree = repo.git("rev-parse", "HEAD:ok.py"), repo.git("rev-parse", "HEAD:d")
    commit_id = repo.git("rev-parse", "HEAD")
    bad = {
        "duplicate": line(b"100644", b"a.py", blob) * 2,
        "file and folder": line(b"100644", b"a", blob) + line(b"40000", b"a", tree),
        "link and folder": line(b"120000", b"a", blob) + line(b"40000", b"a", tree),
        "unsorted": line(b"100644", b"b.py", blob) + line(b"100644", b"a.py", blob),
        "setuid": line(b"104755", b"a.py", blob),
        "junk mode": line(b"777777", b"a.py", blob),
        "writable": line(b"100666", b"a.py", blob),
        "zero padded": line(b"0100644", b"a.py", blob),
        "negative": line(b"-1", b"a.py", blob),
        "fifo": line(b"10644", b"a.py", blob),
        "cut": line(b"100644", b"a.py", blob)[:-3],
        "tree as file": line(b"100644", b"a.py", tree),
        "commit as file": line(b"100644", b"a.py", commit_id),
        "blob as tree": line(b"40000", b"a", blob),
        "case clash": line(b"100644", b"A.py", blob) + line(b"100644", b"a.py", blob),
        "form clash": line(b"100644", "e\u0301.py".encode(), blob)
        + line(b"100644", "\u00e9.py".encode(), blob),
    }
    for what, raw in bad.items():
        with pytest.raises((errors.HostileObject, errors.UnsafeName)):
            warm(cache, [Wanted(str(repo.top), repo.tree_commit(raw), roots=(".",))])
        assert cache.ls() == [], what
    with pytest.raises(errors.HostileObject):
        parse_tree(b"100644", 20)


@pytest.mark.parametrize("oid", ["0" * 40, "ab" * 20])
def test_a_module_whose_object_is_missing_is_missed(oid: str, make_repo: Any, cache: Cache) -> None:
    repo = make_repo({"ok.py": "x = 1\n"})
    commit = repo.tree_commit(line(b"100644", b"a.py", oid))
    with pytest.raises(errors.CommitNotFound, match=oid):
        warm(cache, [Wanted(str(repo.top), commit)])
    data = repo.tree_commit(line(b"100644", b"a.txt", oid))
    (snapshot,) = warm(cache, [Wanted(str(repo.top), data)])
    assert snapshot.left_out == ("a.txt",)


def test_more_siblings_than_a_snapshot_may_have(
    make_repo: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FILES", 1000)
    repo = make_repo({"ok.py": "x = 1\n"})
    blob = repo.git("rev-parse", "HEAD:ok.py")
    raw = b"".join(line(b"100644", b"m%06d.py" % n, blob) for n in range(limits.FILES + 1))
    with pytest.raises(errors.TooLarge):
        warm(cache, [Wanted(str(repo.top), repo.tree_commit(raw), roots=(".",))])
    assert cache.ls() == []


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_gitmodules_says_is_not_heard(kind: str, make_repo: Any, cache: Cache) -> None:
    evil = f'[include]\n\tpath = {cache.roots[0]}/x\n[submodule "x"]\n\turl = ext::sh\n'
    repo = make_repo({"a.py": "x = 1\n", "evil": evil})
    mode = b"120000" if kind == "link" else b"100644"
    lines = line(mode, b".gitmodules", repo.git("rev-parse", "HEAD:evil"))
    commit = repo.tree_commit(lines + line(b"100644", b"a.py", repo.git("rev-parse", "HEAD:a.py")))
    (snapshot,) = warm(cache, [Wanted(str(repo.top), commit, roots=(".",))])
    tree = cache.tree(snapshot.digest)
    assert tree.read("a.py") == b"x = 1\n"
    assert set(tree.paths) | set(snapshot.left_out) == {"a.py", ".gitmodules"}
    assert (".gitmodules" in snapshot.left_out) == (kind == "link")
    tree.close()


def test_a_chain_of_tags_is_no_commit(make_repo: Any, cache: Cache) -> None:
    repo = make_repo({"ok.py": "x = 1\n"})
    oid, kind = repo.git("rev-parse", "HEAD"), "commit"
    for n in range(40):
        text = f"object {oid}\ntype {kind}\ntag t{n}\ntagger A <a@b> 0 +0000\n\nx\n"
        oid, kind = repo.hash_object("tag", text.encode()), "tag"
    with pytest.raises(errors.HostileObject):
        warm(cache, [Wanted(str(repo.top), oid)])


def test_a_commit_that_is_something_else(make_repo: Any, cache: Cache) -> None:
    repo = make_repo({"ok.py": "x = 1\n"})
    blob = repo.git("rev-parse", "HEAD:ok.py")
    for oid in (blob, repo.git("rev-parse", "HEAD:")):
        with pytest.raises(errors.HostileObject):
            warm(cache, [Wanted(str(repo.top), oid)])
    head = f"tree {blob}\nauthor A <a@b> 0 +0000\ncommitter A <a@b> 0 +0000\n\nx\n"
    with pytest.raises(errors.HostileObject):
        warm(cache, [Wanted(str(repo.top), repo.hash_object("commit", head.encode()))])


def test_links_become_copies_or_are_left_out(make_repo: Any, cache: Cache) -> None:
    repo = make_repo()
    repo.write({"pkg/real.py": "x = 1\n", "pkg/sub/deep.py": "y = 1\n", "outside.py": "z = 1\n"})
    links = {
        "good.py": "real.py",
        "chain.py": "good.py",
        "up.py": "sub/../real.py",
        "absolute.py": "/etc/passwd",
        "escape.py": "../../etc/passwd",
        "outside.py": "../outside.py",
        "dangling.py": "nothing.py",
        "folder": "sub",
        "loop.py": "loop.py",
    }
    for name, target in links.items():
        (repo.top / "pkg" / name).symlink_to(target)
    head = repo.commit()
    (snapshot,) = warm(cache, [Wanted(str(repo.top), head, roots=("pkg",))])
    tree = cache.tree(snapshot.digest)
    assert {tree.read(f"pkg/{n}.py") for n in ("good", "chain", "up", "real")} == {b"x = 1\n"}
    assert tree.mode("pkg/good.py") == 0o100644
    gone = {f"pkg/{n}" for n in links} - {"pkg/good.py", "pkg/chain.py", "pkg/up.py"}
    assert set(snapshot.left_out) == gone
    tree.close()
    # A folder with the same content gives the same snapshot of code.
    (repo.top / ".git").rename(repo.top.parent / "away")
    (plain,) = warm(cache, [Wanted(str(repo.top), roots=("pkg",))])
    assert (plain.digest, plain.left_out) == (snapshot.digest, snapshot.left_out)


def test_submodules(make_repo: Any, cache: Cache) -> None:
    repo = make_repo({"pkg/a.py": "x = 1\n"})
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{'a' * 40},pkg/sub")
    repo.git("commit", "-qm", "submodule")
    head = repo.git("rev-parse", "HEAD")
    (snapshot,) = warm(cache, [Wanted(str(repo.top), head, roots=(".",))])
    assert snapshot.left_out == ("pkg/sub",)
    for roots in (("pkg",), ("pkg/sub",)):
        with pytest.raises(errors.SubmoduleRefused):
            warm(cache, [Wanted(str(repo.top), head, roots=roots)])


def test_lfs_pointers(make_repo: Any, cache: Cache) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    repo = make_repo({"a.py": "x = 1\n", "model.bin": pointer})
    (snapshot,) = warm(cache, [Wanted(str(repo.top), repo.git("rev-parse", "HEAD"))])
    assert snapshot.left_out == ("model.bin",)
    head = repo.commit({"b.py": pointer})
    with pytest.raises(errors.LfsPointer, match=r"b\.py"):
        warm(cache, [Wanted(str(repo.top), head)])


def test_a_git_bomb_is_stopped(make_repo: Any, cache: Cache) -> None:
    repo = make_repo({"a.py": "x = 1\n"})
    oid = repo.git("rev-parse", "HEAD:")
    for _ in range(10):
        raw = b"".join(line(b"40000", b"d%d" % i, oid) for i in range(10))
        oid = repo.hash_object("tree", raw)
    began = time.process_time()
    commit = repo.tree_commit(line(b"40000", b"top", oid))
    with pytest.raises(errors.TooLarge):
        warm(cache, [Wanted(str(repo.top), commit, roots=(".",))])
    assert time.process_time() - began < 30


def test_a_deep_tree_is_stopped(make_repo: Any, cache: Cache) -> None:
    repo = make_repo({"a.py": "x = 1\n"})
    oid = repo.git("rev-parse", "HEAD:")
    for _ in range(70):
        oid = repo.hash_object("tree", line(b"40000", b"d", oid))
    with pytest.raises(errors.TooLarge):
        warm(
            cache,
            [Wanted(str(repo.top), repo.tree_commit(line(b"40000", b"t", oid)), roots=(".",))],
        )


def test_a_tampered_object_is_noticed(make_repo: Any, cache: Cache) -> None:
    repo = make_repo({"a.py": "x = 1\n"})
    oid = repo.git("rev-parse", "HEAD:a.py")
    evil = repo.git("hash-object", "-w", "--stdin", data=b"evil")
    objects = repo.top / ".git" / "objects"
    victim = objects / oid[:2] / oid[2:]
    victim.chmod(0o644)
    victim.write_bytes((objects / evil[:2] / evil[2:]).read_bytes())
    with pytest.raises(errors.HostileObject):
        warm(cache, [Wanted(str(repo.top), repo.git("rev-parse", "HEAD"))])


def test_a_damaged_store_of_ours_heals(
    sample: Any, tmp_path: Path, http_server: Any, cache: Cache
) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    sample.bare(folder / "r.git")
    url = http_server(folder).url + "/r.git"
    head = sample.git("rev-parse", "HEAD")
    (snapshot,) = warm(cache, [Wanted(url, head)])
    for pack in (tmp_path / "cache" / "v1" / "git").glob("*/objects/pack/*.pack"):
        data = bytearray(pack.read_bytes())
        for i in range(40, len(data) - 20, 7):
            data[i] ^= 1
        pack.chmod(0o644)
        pack.write_bytes(bytes(data))
    wanted = Wanted(url, head, roots=("src",))
    (healed,) = warm(cache, [wanted])
    assert healed.roots == ("src",)
    assert snapshot.commit == healed.commit


@pytest.mark.parametrize(
    "repo",
    [
        "ext::sh -c touch%20x",
        "ftp://h/x",
        "s3://bucket/key",
        "-oProxyCommand=x:y",
        "--upload-pack=x",
        "ssh://-oProxyCommand=x/y",
        "ssh://h/-x",
        "git@-h:x",
        "git@h:-x",
        "https://h/a b",
        "https://h/\n",
        "https:///x",
        "http://h",
        "file://other/x",
        "fd::17",
        "ssh://u;x@h/y",
        "https://[::1/x",
        "git://h:x/y",
    ],
)
def test_unsafe_addresses_are_refused(repo: str, cache: Cache) -> None:
    with pytest.raises(errors.UnsafeUrl) as caught:
        warm(cache, [Wanted(repo, "a" * 40)])
    assert "\n " not in str(caught.value).splitlines()[0]


@pytest.mark.parametrize(
    ("repo", "public"),
    [
        ("https://u:tok@h.example/a/b.git?token=tok#x", "https://h.example/a/b.git"),
        ("http://h:8080/r", "http://h:8080/r"),
        ("ssh://git@h/r.git", "ssh://git@h/r.git"),
        ("ssh://someone@h:22/r.git", "ssh://h:22/r.git"),
        ("git@github.com:O/r.git", "git@github.com:O/r.git"),
        ("me@h.example:r", "h.example:r"),
        ("git://h/r", "git://h/r"),
        ("file:///a/b%20c", "/a/b c"),
        ("/a/b", "/a/b"),
    ],
)
def test_public_addresses(repo: str, public: str) -> None:
    assert public_url(repo) == public
    assert "tok" not in repr(address_of(repo))


def test_a_silent_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from codevault_cache import wire

    monkeypatch.setattr(wire, "SILENCE_SECONDS", 0.3)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        began = time.monotonic()
        for scheme in ("git", "http"):
            with (
                wire.wire(address_of(f"{scheme}://127.0.0.1:{port}/r.git"), 1.0) as server,
                pytest.raises(errors.Unreachable),
            ):
                server.fetch(io.BytesIO(), ["a" * 40])
        assert time.monotonic() - began < 100


def test_a_server_that_sends_junk(tmp_path: Path, cache: Cache) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def answer() -> None:
            for _ in range(2):
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"<html>please log in</html>" * 10)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        with pytest.raises(errors.CacheError):
            warm(cache, [Wanted(f"git://127.0.0.1:{port}/r.git", "a" * 40)])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_hostile_archives(tmp_path: Path, cache: Cache) -> None:
    def refused(name: str) -> None:
        with pytest.raises(errors.CacheError):
            warm(cache, [Wanted(str(tmp_path / name))])

    with zipfile.ZipFile(tmp_path / "up.whl", "w") as opened:
        opened.writestr("../evil.py", "x")
    refused("up.whl")
    with zipfile.ZipFile(tmp_path / "twice.whl", "w") as opened:
        opened.writestr("a.py", "x")
        with pytest.warns(UserWarning, match="Duplicate"):
            opened.writestr("a.py", "y")
    refused("twice.whl")
    (tmp_path / "junk.whl").write_bytes(b"junk")
    refused("junk.whl")
    (tmp_path / "junk.tar.gz").write_bytes(b"junk")
    refused("junk.tar.gz")
    (tmp_path / "what.exe").write_bytes(b"junk")
    refused("what.exe")
    refused("gone.whl")
    with tarfile.open(tmp_path / "up.tar.gz", "w:gz") as tar:
        for name in ("p/a.py", "p/../../evil.py"):
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    refused("up.tar.gz")
    with tarfile.open(tmp_path / "link.tar.gz", "w:gz") as tar:
        for name, target in (("p/a.py", "/etc/passwd"), ("p/b.py", "")):
            info = tarfile.TarInfo(name)
            if target:
                info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    (snapshot,) = warm(cache, [Wanted(str(tmp_path / "link.tar.gz"))])
    assert snapshot.left_out == ("a.py",)


def packed(path: Path, *members: tuple[str, bytes, str]) -> str:
    """A tar of members: name, type, and content or the name that it links to."""
    with tarfile.open(path, "w") as tar:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(text)
            else:
                info.linkname = text
            tar.addfile(info, io.BytesIO(text.encode()))
    return str(path)


def test_hard_links_of_archives_are_files(tmp_path: Path, cache: Cache) -> None:
    """`tar` writes a file's second name so, and modules may be such."""
    members = [("p/a.py", tarfile.REGTYPE, "x = 1\n"), ("p/b.py", tarfile.LNKTYPE, "p/a.py")]
    (snapshot,) = warm(cache, [Wanted(packed(tmp_path / "a.tar", *members))])
    tree = cache.tree(snapshot.digest)
    assert {path: tree.read(path) for path in tree.paths} == dict.fromkeys(
        ("a.py", "b.py"), b"x = 1\n"
    )
    tree.close()
    members.append(("p/c.py", tarfile.LNKTYPE, "../../etc/passwd"))
    with pytest.raises(errors.HostileObject, match="lacks"):
        warm(cache, [Wanted(packed(tmp_path / "b.tar", *members))])


def header(size: bytes, kind: bytes) -> bytes:
    """The first block of a tar's member."""
    block = bytearray(512)
    block[:4], block[100:107], block[124 : 124 + len(size)] = b"name", b"0000644", size
    block[156:157], block[148:156] = kind, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


ENDLESS = b"\x80" + (1 << 40).to_bytes(11, "big")
BACKWARDS = b"\xff" * 11 + b"\0"


@pytest.mark.parametrize("size", [ENDLESS, BACKWARDS])
@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g", b"X", b"0", b"5"])
def test_archives_that_lie_about_sizes_take_no_memory_and_no_time(
    size: bytes, kind: bytes, tmp_path: Path, cache: Cache
) -> None:
    if size == ENDLESS and kind == b"5":
        return  # a folder has no content, whatever it says
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(header(size, kind) + bytes(1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(errors.CacheError):
            warm(cache, [Wanted(str(tmp_path / "a.tar.gz"))])
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    assert cache.ls() == []


@pytest.mark.parametrize("ending", ["whl", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_archives_with_changed_bytes_are_read_or_refused(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    files = {"p/a.py": b"x = 1\n" * 50, "p/" + "long" * 40 + "/b.py": b"", "p/c.bin": bytes(700)}
    if ending == "whl":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
            for name, content in files.items():
                made.writestr(name, content)
    else:
        mode: Any = f"w:{ending.partition('.')[2]}"
        with tarfile.open(path, mode) as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    good, choose = path.read_bytes(), random.Random(ending)
    ends = set()
    for _ in range(120):
        bad = bytearray(good)
        for _ in range(choose.choice((1, 1, 3))):
            bad[choose.randrange(len(bad))] ^= 1 << choose.randrange(8)
        path.write_bytes(bad if choose.random() < 0.8 else bad[: choose.randrange(len(bad))])
        try:
            archive_source(str(path))
            ends.add("read")
        except errors.CacheError as error:
            ends.add(type(error).__name__)
    assert "HostileObject" in ends


def test_an_id_that_means_two_contents_is_decided_by_the_digest(
    make_repo: Any, cache: Cache
) -> None:
    """Nothing here notices SHA-1 collisions: the sha256 that a manifest names is the defence."""
    repo = make_repo({"a.py": "x = 1\n"})
    head, blob = repo.git("rev-parse", "HEAD"), repo.git("rev-parse", "HEAD:a.py")
    wanted = Wanted(str(repo.top), head, roots=(".",), shared=(), include=())
    (right,) = warm(cache, [wanted])
    collides = {blob: ("blob", b"import os  # the same id\n")}
    known = replace(wanted, digest=right.digest)
    with read_only(str(repo.top / ".git" / "objects"), head) as store:
        source = source_at(Objects(store, collides), head, "The origin")
        with pytest.raises(errors.DigestMismatch):
            keep(cache, known, source, None)
    assert [entry.snapshot for entry in cache.ls()] == [right]


def test_overlays_obey_the_same_rules(make_repo: Any, cache: Cache) -> None:
    with pytest.raises(errors.UnsafeName):
        overlay_of({"../x.py": "x"})
    repo = make_repo({"a.py": "x = 1\n"})
    with pytest.raises(errors.UnsafeName):
        warm(
            cache,
            [
                Wanted(
                    str(repo.top), repo.git("rev-parse", "HEAD"), overlay=overlay_of({"A.py": ""})
                )
            ],
        )


def test_objects_are_only_read_in_the_form_that_hashes() -> None:
    """get_raw and iter_unpacked_subset of dulwich do not hash what they read."""
    import codevault_cache

    folder = codevault_cache.__path__[0]
    found = subprocess.run(
        [
            "grep",
            "-rnE",
            r"get_raw\(|iter_unpacked|LocalGitClient|porcelain",
            folder,
            "--include=*.py",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""
