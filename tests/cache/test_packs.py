"""Packs, trees and names that strangers write: read exactly, or refused by our own errors."""

from __future__ import annotations

import contextlib
import io
import os
import random
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codevault_cache import Cache, Wanted, errors, received, warm
from codevault_cache.address import address_of
from codevault_cache.gitobjects import object_id
from codevault_cache.wire import wire
from tests.cache import fuzz

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("how", [("--delta-base-offset",), ()])
@pytest.mark.parametrize("init", [(), ("--object-format=sha256",)])
def test_packs_of_git_are_read_as_git_reads_them(
    how: tuple[str, ...], init: tuple[str, ...], make_repo: Any, tmp_path: Path
) -> None:
    choose = random.Random(0)
    repo = make_repo(None, "work", *init)
    lines = [f"{choose.getrandbits(90):030}" for _ in range(400)]
    for i in range(8):
        lines[choose.randrange(400)] = f"line {i}"
        repo.commit({f"d/{i}.txt": "\n".join(lines), "same.txt": "\n".join(lines)})
    oids = repo.git("rev-list", "--objects", "--all", "--no-object-names")
    name = repo.git("pack-objects", "-q", *how, str(tmp_path / "p"), data=oids.encode())
    data = (tmp_path / f"p-{name}.pack").read_bytes()
    found, index = received.receive(memoryview(data), sha256=bool(init))
    assert index == (tmp_path / f"p-{name}.idx").read_bytes()
    assert set(found) == set(oids.split())
    for oid, (kind, content) in found.items():
        assert repo.git("cat-file", "-t", oid) == kind
        assert object_id(kind, content, sha256=bool(init)) == oid
    assert "chain length = 3" in repo.git("verify-pack", "-v", str(tmp_path / f"p-{name}.idx"))


def test_long_chains_and_large_objects_need_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(received, "_SMALL", 1000)
    monkeypatch.setattr(received, "HELD_BYTES", 20_000)
    whole = fuzz.entry(3, b"hello")
    chain, last = [whole], len(whole)
    for i in range(20_000):
        chain.append(
            fuzz.entry(6, fuzz.delta(5, 5, b"\x90\x04\x01%c" % (i % 256)), fuzz.back(last))
        )
        last = len(chain[-1])
    large = os.urandom(50_000)
    base = fuzz.entry(3, large)
    made = fuzz.entry(6, fuzz.delta(50_000, 4, b"\x90\x04"), fuzz.back(len(base)))
    data = fuzz.pack(*chain, base, made)
    found, index = received.receive(memoryview(data), sha256=False)
    assert object_id("blob", large) not in found
    assert bytes.fromhex(object_id("blob", large)) in index
    assert bytes.fromhex(object_id("blob", large[:4])) in index
    assert sum(len(content) for _, content in found.values()) <= 20_000


GOOD = ("pack/good", "pack/empty", "pack/twice", "tree/good", "tree/gitlink", "tree/latin")
TOO_LARGE = ("pack/bomb", "pack/count huge", "pack/delta huge")


def test_every_kept_input_ends_as_it_should_also_under_O(
    python: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, _ in fuzz.SMALL:
        monkeypatch.setattr(module, name, getattr(module, name))
    ends = fuzz.replay()
    assert len(ends) > 50
    for name, end in ends.items():
        kind = name.partition("/")[0]
        if name in TOO_LARGE:
            assert end.startswith("TooLarge"), (name, end)
        elif kind == "pack" and name in fuzz.seeds() and name not in GOOD:
            assert end.startswith("HostileObject"), (name, end)
        elif name in GOOD:
            # Travelling packs hold no deltas.
            assert end == "read" or "hold deltas" in end, (name, end)
    out = python(
        "import json, sys\nfrom tests.cache import fuzz\n"
        "print(json.dumps([__debug__, fuzz.replay()]))\n",
        flags=("-O",),
        PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "cache")]),
    )
    import json

    assert json.loads(out) == [False, ends]


@given(
    name=st.sampled_from(sorted(fuzz.corpus())),
    seed=st.integers(0, 2**32),
)
def test_changed_inputs_are_read_or_refused(name: str, seed: int) -> None:
    target = name.partition("/")[0]
    data = fuzz.corpus()[name]
    fuzz.outcome(target, fuzz.mutated(random.Random(seed), target, data, [data]))


@given(st.binary(max_size=60))
def test_any_name_is_safe_or_refused(data: bytes) -> None:
    fuzz.read_any_path(data)


def test_a_damaged_index_of_a_local_clone_gives_the_code_or_an_error(
    sample: Any, tmp_path: Path
) -> None:
    sample.git("repack", "-adq")
    head = sample.git("rev-parse", "HEAD")
    (right,) = warm(Cache.open(tmp_path / "right"), [Wanted(str(sample.top), head)])
    (index,) = (sample.top / ".git" / "objects" / "pack").glob("*.idx")
    data = index.read_bytes()
    index.chmod(0o644)
    choose = random.Random(0)
    ends: set[str] = set()
    cases = [bytearray(data) for _ in range(60)]
    for case in cases:
        # Everywhere, but mostly where the offsets are.
        at = choose.randrange(len(case) - 140, len(case)) if choose.random() < 0.6 else None
        case[choose.randrange(8, len(case)) if at is None else at] ^= 1 << choose.randrange(8)
    cases += [
        bytearray(data[:-30]),
        bytearray(),
        bytearray(b"\xff" * len(data)),
        bytearray(data[:8]),
    ]
    for i, case in enumerate(cases):
        index.write_bytes(bytes(case))
        try:
            (found,) = warm(Cache.open(tmp_path / f"c{i}"), [Wanted(str(sample.top), head)])
        except errors.CacheError as error:
            ends.add(type(error).__name__)
            continue
        assert found.left_out or found.digest == right.digest
        ends.add("read")
    assert "read" in ends
    assert len(ends) > 1


# -- servers --------------------------------------------------------------------------------------


@contextlib.contextmanager
def speaking(*pieces: bytes, times: int = 1) -> Iterator[str]:
    """A git server that says the same to everybody; the last piece again and again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    near, _ = listener.accept()
                    with near, contextlib.suppress(OSError):
                        for piece in (*pieces, *[pieces[-1]] * (times - 1)):
                            near.sendall(piece)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"git://127.0.0.1:{listener.getsockname()[1]}/r.git"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def packet(data: bytes) -> bytes:
    return b"%04x" % (len(data) + 4) + data


def test_a_server_with_endless_refs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    from codevault_cache import clients

    monkeypatch.setattr(clients, "ANSWER_BYTES", 1 << 20)
    refs = b"".join(packet(b"%040x refs/heads/b%d\n" % (i, i)) for i in range(1000))
    first = packet(b"1" * 40 + b" HEAD\0agent=x\n")
    with (
        speaking(first, refs, times=10_000) as url,
        wire(address_of(url)) as server,
        pytest.raises(errors.TooLarge),
    ):
        server.tips((b"refs/heads/",))


@pytest.mark.parametrize(
    "words",
    [b"zzzz", b"0003", b"0005x", packet(b"version 2\n") + b"0000" * 50, b"ffff" + b"x" * 100],
)
def test_a_server_that_does_not_speak_git(words: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    from codevault_cache import wire as module

    monkeypatch.setattr(module, "RETRY_SECONDS", (0.01,))
    with (
        speaking(words) as url,
        wire(address_of(url), 5) as server,
        pytest.raises(errors.CacheError),
    ):
        server.fetch(io.BytesIO(), ["a" * 40])


def test_a_server_that_sends_another_commit(
    sample: Any, tmp_path: Path, http_server: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    other = sample.git("rev-parse", "HEAD")
    wanted = sample.commit({"src/agent/net.py": "width = 4\n"})
    sample.bare(folder / "r.git")
    from codevault_cache.wire import Wire

    real = Wire._fetch
    monkeypatch.setattr(
        Wire, "_fetch", lambda self, file, wants, *rest: real(self, file, [other], *rest)
    )
    with pytest.raises(errors.CommitNotFound):
        warm(cache, [Wanted(http_server(folder).url + "/r.git", wanted)])
    assert cache.ls() == []


def test_detours_that_a_server_proposes_are_not_taken(
    sample: Any, tmp_path: Path, http_server: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    sample.bare(folder / "r.git")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x"]
    names = [
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(["openssl", *make, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
    plain, safe = http_server(folder), http_server(folder, tls=context)
    head = sample.git("rev-parse", "HEAD")
    target = f"{plain.url}/r.git/info/refs?service=git-upload-pack"
    safe.trouble = [f"302 to {target}"]
    with pytest.raises(errors.Unreachable, match="without encryption"):
        warm(cache, [Wanted(safe.url + "/r.git", head)])
    safe.trouble = ["200 page"]
    with pytest.raises(errors.CacheError):
        warm(cache, [Wanted(safe.url + "/r.git", head)])
    # Packs that lie at other addresses.
    for place in ("https://elsewhere.example/x/info/refs?service=y", plain.url + "/evil.pack"):
        with (
            wire(address_of(plain.url + "/r.git")) as server,
            pytest.raises(Exception, match="smart protocol"),
        ):
            server._client._http_request(place)
    assert warm(cache, [Wanted(safe.url + "/r.git", head)])
