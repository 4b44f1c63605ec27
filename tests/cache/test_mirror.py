"""A mirror saves the way to the repository; it is never believed."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from codevault_cache import (
    Cache,
    Snapshot,
    Wanted,
    errors,
    limits,
    overlay_of,
    packing,
    paths,
    warm,
)
from codevault_cache.gitobjects import read_pack, write_pack
from codevault_cache.mirrorpush import push
from codevault_cache.pack import encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WEB = pytest.mark.filterwarnings(  # of the client's library, when its loop is closed
    "ignore::ResourceWarning",
    "ignore::DeprecationWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
NOWHERE = "http://127.0.0.1:9/r.git"


@pytest.fixture
def pushed(
    sample: Any, tmp_path: Path, http_server: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Push the sample's snapshot to a mirror, and use it."""
    (sample.top / "src" / "agent" / "link.py").symlink_to("net.py")
    sample.head = sample.commit()
    folder = tmp_path / "served"
    folder.mkdir()
    sample.bare(folder / "r.git")
    sample.server = http_server(folder)
    sample.url = sample.server.url + "/r.git"

    def make(url: str = "", **more: Any) -> Snapshot:
        source = Cache.open(tmp_path / "pusher")
        wanted = Wanted(sample.url, sample.head, **more)
        (snapshot,) = warm(source, [wanted])
        sample.mirror = url or str(tmp_path / "mirror")
        assert push(source, snapshot, wanted, sample.mirror) > 0
        assert push(source, snapshot, wanted, sample.mirror) == 0
        monkeypatch.setenv("CODEVAULT_MIRROR", sample.mirror)
        return snapshot

    return make


SETTLED: dict[str, Any] = {"roots": ("src",), "shared": (), "include": ()}


@pytest.mark.parametrize("more", [{}, {"roots": ("src",)}, SETTLED])
@pytest.mark.parametrize("scheme", ["", "memory://{}"])
def test_a_snapshot_comes_from_the_mirror_alone(
    more: dict[str, Any], scheme: str, pushed: Any, sample: Any, cache: Cache, tmp_path: Path
) -> None:
    snapshot = pushed(scheme.format(tmp_path.name), **more)
    (found,) = warm(cache, [Wanted(NOWHERE, sample.head, **more)])
    assert (found.digest, found.name) == (snapshot.digest, snapshot.name)
    assert found.repo == NOWHERE
    (known,) = warm(
        Cache.open(tmp_path / "c2"), [Wanted(NOWHERE, sample.head, digest=found.digest, **more)]
    )
    assert known.digest == snapshot.digest


def test_overlays_and_a_clone_on_this_machine(
    pushed: Any, sample: Any, cache: Cache, tmp_path: Path
) -> None:
    overlay = overlay_of({"src/agent/net.py": "width = 9\n"})
    snapshot = pushed(**SETTLED, overlay=overlay)
    wanted = Wanted(NOWHERE, sample.head, **SETTLED, overlay=overlay, digest=snapshot.digest)
    (found,) = warm(cache, [wanted])
    assert (found.digest, found.overlay) == (snapshot.digest, overlay.digest)
    local = Cache.open(tmp_path / "local")
    wanted = Wanted(str(sample.top), sample.head)
    (whole,) = warm(local, [wanted])
    assert push(local, whole, wanted, sample.mirror) > 0
    (found,) = warm(Cache.open(tmp_path / "c2"), [Wanted(NOWHERE, sample.head)])
    assert found.digest == whole.digest


def test_what_is_not_in_the_mirror_comes_from_the_repository(
    pushed: Any, sample: Any, cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    pushed(**SETTLED)
    (found,) = warm(cache, [Wanted(sample.url, sample.head, roots=(".",))])
    assert found.roots == (".",)
    assert said(caplog) == []


def test_offline_a_mirror_on_this_machine_still_counts(
    pushed: Any, sample: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed()
    monkeypatch.setenv("CODEVAULT_OFFLINE", "1")
    assert warm(cache, [Wanted(NOWHERE, sample.head)])
    monkeypatch.setenv("CODEVAULT_MIRROR", "https://mirror.example/codevault")
    with pytest.raises(errors.Offline):
        warm(cache, [Wanted(NOWHERE, sample.head, roots=("configs",))])


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.levelname for r in caplog.records if r.name == "codevault_cache"]


def pack_path(mirror: str, digest: str) -> str:
    return paths.pack(mirror, digest)


def rewritten(mirror: str, snapshot: Snapshot, files: dict[str, tuple[int, bytes]]) -> None:
    """A pack of other files, and records that say that the commit is these."""
    digest, pieces = encode(files)
    os.makedirs(os.path.dirname(pack_path(mirror, digest)), exist_ok=True)
    with open(pack_path(mirror, digest), "wb") as file:
        file.write(b"".join(pieces))
    for folder in ("snapshots", "requests"):
        for where, _, names in os.walk(os.path.join(mirror, "v1", folder)):
            for name in names:
                with open(os.path.join(where, name), "rb") as file:
                    head, newline, _ = file.read().rpartition(b"\n")
                lie = Snapshot(
                    snapshot.commit, snapshot.roots, snapshot.shared, snapshot.include,
                    snapshot.overlay, digest, snapshot.repo,
                )  # fmt: skip
                with open(os.path.join(where, name), "wb") as file:
                    file.write(head + newline + lie.to_json())


EVIL = (0o100644, b"import os\nos.system('touch evil')\n")


def lie(kind: str, sample: Any, snapshot: Snapshot, cache: Cache) -> None:
    mirror = sample.mirror
    path = pack_path(mirror, snapshot.digest)
    proof = paths.commit(mirror, snapshot.name)
    with open(path, "rb") as file:
        pack = file.read()
    with open(proof, "rb") as file:
        objects = list(read_pack(file.read()).values())
    tree = Cache.open(sample.pusher).tree(snapshot.digest)
    files = {name: (tree.mode(name), tree.read(name)) for name in tree.paths}
    tree.close()
    # The link is a copy of the file: one would prove the other.
    evil = {**files, "src/agent/net.py": EVIL, "src/agent/link.py": EVIL}
    new: dict[str, bytes] = {
        "cut short": pack[:-7],
        "bytes to spare": pack + b"x",
        "flipped": pack[:-3] + bytes([pack[-3] ^ 1]) + pack[-2:],
        "empty": b"",
        "a login page": b"<html>please log in</html>" * 100,
        "another tree": b"".join(encode(evil)[1]),
        "a header without end": pack[:8] + b"\xff\xff\xff\x03" + pack[12:],
    }
    if kind in new:
        with open(path, "wb") as file:
            file.write(new[kind])
    elif kind == "other code":
        rewritten(mirror, snapshot, evil)
    elif kind == "a file held back":
        kept = {n: v for n, v in files.items() if v != files["src/agent/net.py"]}
        rewritten(mirror, snapshot, kept)
    elif kind == "a file more":
        rewritten(mirror, snapshot, {**files, "src/agent/evil.py": EVIL})
    elif kind == "no proof":
        os.unlink(proof)
    elif kind == "a proof cut short":
        with open(proof, "wb") as file:
            file.write(write_pack(objects[:1]))
    elif kind == "a proof of another commit":
        other = [("commit", b"tree " + b"0" * 40 + b"\n"), *objects[1:]]
        with open(proof, "wb") as file:
            file.write(write_pack(other))
    elif kind == "a stale format":
        for where, _, names in os.walk(os.path.join(mirror, "v1")):
            for name in names:
                if name.endswith(".json"):
                    with open(os.path.join(where, name), "r+b") as file:
                        data = file.read().replace(b'"format":1', b'"format":0')
                        file.seek(0)
                        file.write(data)


LIES = [
    "cut short", "bytes to spare", "flipped", "empty", "a login page", "another tree",
    "a header without end", "other code", "a file held back", "no proof", "a proof cut short",
    "a proof of another commit", "a stale format",
]  # fmt: skip


@pytest.mark.parametrize("kind", LIES)
@pytest.mark.parametrize("more", [{}, SETTLED])
def test_a_mirror_that_lies_is_passed_over(
    kind: str, more: dict[str, Any], pushed: Any, sample: Any, cache: Cache, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    snapshot = pushed(**more)
    sample.pusher = str(tmp_path / "pusher")
    lie(kind, sample, snapshot, cache)
    (found,) = warm(cache, [Wanted(sample.url, sample.head, **more)])
    assert found.digest == snapshot.digest
    assert [entry.snapshot.digest for entry in cache.ls()] == [snapshot.digest]
    assert said(caplog) == ([] if kind == "no proof" else ["WARNING"])
    if more:
        known = Wanted(sample.url, sample.head, digest=snapshot.digest, **more)
        assert warm(Cache.open(tmp_path / "c4"), [known])[0].digest == snapshot.digest
    # With the repository gone, there is an error, and no code.
    sample.server.stop()
    if more:
        settled = Wanted(NOWHERE, sample.head, digest=hashlib.sha256(b"").hexdigest(), **more)
        with pytest.raises(errors.Unreachable):
            warm(Cache.open(tmp_path / "c3"), [settled])
    with pytest.raises(errors.Unreachable):
        warm(Cache.open(tmp_path / "c2"), [Wanted(NOWHERE, sample.head, **more)])


def test_a_file_more_than_the_commit_has_is_not_taken(
    pushed: Any, sample: Any, cache: Cache, tmp_path: Path
) -> None:
    snapshot = pushed()
    sample.pusher = str(tmp_path / "pusher")
    lie("a file more", sample, snapshot, cache)
    (found,) = warm(cache, [Wanted(NOWHERE, sample.head)])
    assert found.digest == snapshot.digest


def test_a_silent_mirror_and_one_of_no_known_kind(
    pushed: Any, sample: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    from fsspec.implementations.local import LocalFileSystem

    snapshot = pushed()
    stop = threading.Event()
    monkeypatch.setattr(LocalFileSystem, "open", lambda *args, **kwargs: stop.wait(60))
    monkeypatch.setattr(limits, "FETCH_SECONDS", 0.2)
    (found,) = warm(cache, [Wanted(sample.url, sample.head)])
    stop.set()
    assert found.digest == snapshot.digest
    monkeypatch.setenv("CODEVAULT_MIRROR", "nosuchthing://bucket")
    assert warm(Cache.open(tmp_path / "c2"), [Wanted(sample.url, sample.head)]) == [found]
    assert said(caplog) == ["WARNING"] * 2


def test_a_mirror_that_is_silent_is_not_asked_again_for_each_snapshot(
    pushed: Any, sample: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from fsspec.implementations.local import LocalFileSystem

    from codevault_cache import mirror

    pushed()
    asked: list[object] = []
    stop = threading.Event()

    def silent(*args: Any, **_: Any) -> bool:
        asked.append(args)
        return stop.wait(60)

    monkeypatch.setattr(LocalFileSystem, "open", silent)
    monkeypatch.setattr(limits, "FETCH_SECONDS", 0.3)
    monkeypatch.setattr(mirror, "_LONG_SECONDS", 0.2)
    several = [Wanted(sample.url, sample.head, roots=(root,)) for root in ("src", "configs", ".")]
    warm(cache, several[:1])
    warm(cache, several)
    assert len(asked) == 1
    monkeypatch.setattr(mirror, "_silent", {})  # a minute later
    warm(Cache.open(tmp_path / "c2"), several[:1])
    stop.set()
    assert len(asked) == 2


def test_several_snapshots_are_read_at_once(
    pushed: Any, sample: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.local import LocalFileSystem

    ways: list[dict[str, Any]] = [{}, SETTLED, {"roots": ("src",)}, {"roots": ("configs",)}]
    for more in ways:
        pushed(**more)
    together = threading.Barrier(len(ways), timeout=20)
    first, real = threading.local(), LocalFileSystem.open

    def waiting(*args: Any, **more: Any) -> Any:
        if not hasattr(first, "met"):
            first.met = together.wait()
        return real(*args, **more)

    monkeypatch.setattr(LocalFileSystem, "open", waiting)
    assert len(warm(cache, [Wanted(NOWHERE, sample.head, **more) for more in ways])) == len(ways)


def test_a_full_disk_is_no_fault_of_the_mirror(
    pushed: Any, sample: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    pushed()
    sample.server.requests.clear()
    monkeypatch.setattr(packing, "_require_room", full)
    with pytest.raises(errors.Unwritable, match="no space left"):
        warm(cache, [Wanted(sample.url, sample.head)])
    assert sample.server.requests == []
    assert said(caplog) == []


@pytest.mark.parametrize("held", ["in another folder", "from a mirror"])
def test_who_has_the_code_from_elsewhere_publishes_its_proof_too(
    held: str, pushed: Any, sample: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = pushed()
    wanted = Wanted(sample.url, sample.head)
    sample.server.requests.clear()
    if held == "in another folder":
        publisher = Cache.open([tmp_path / "own", tmp_path / "pusher"])
    else:
        publisher = Cache.open(tmp_path / "own")
        warm(publisher, [wanted])
        assert sample.server.requests == []
    mirror = str(tmp_path / "next")
    assert push(publisher, snapshot, wanted, mirror) > 0
    assert bool(sample.server.requests) == (held == "from a mirror")
    monkeypatch.setenv("CODEVAULT_MIRROR", mirror)
    (found,) = warm(Cache.open(tmp_path / "c2"), [Wanted(NOWHERE, sample.head)])
    assert found.digest == snapshot.digest


@pytest.mark.parametrize("kind", ["flipped", "other code", "a proof of another commit"])
def test_who_publishes_again_repairs_a_mirror(
    kind: str, pushed: Any, sample: Any, cache: Cache, tmp_path: Path
) -> None:
    snapshot = pushed()
    sample.pusher = str(tmp_path / "pusher")
    lie(kind, sample, snapshot, cache)
    publisher, wanted = Cache.open(sample.pusher), Wanted(sample.url, sample.head)
    assert push(publisher, snapshot, wanted, sample.mirror) > 0
    assert push(publisher, snapshot, wanted, sample.mirror) == 0
    (found,) = warm(cache, [Wanted(NOWHERE, sample.head)])
    assert found.digest == snapshot.digest


@WEB
def test_a_mirror_that_is_not_there_is_told_once(
    pushed: Any, sample: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    pytest.importorskip("aiohttp")
    pushed()
    monkeypatch.setenv("CODEVAULT_MIRROR", "http://user:secret@127.0.0.1:9/mirror")
    for root in ("src", "configs", "."):
        warm(cache, [Wanted(sample.url, sample.head, roots=(root,))])
    (text,) = [r.getMessage() for r in caplog.records if r.name == "codevault_cache"]
    assert text.startswith("the mirror http://127.0.0.1:9/mirror is passed over: ClientConnector")


@WEB
@pytest.mark.parametrize("kind", ["page", "cut", "refused", "elsewhere"])
def test_a_web_server_that_lies_is_passed_over(
    kind: str, pushed: Any, sample: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    pytest.importorskip("aiohttp")
    snapshot = pushed()
    page = b"<html>please log in</html>"

    class Liar(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = {"refused": 403, "elsewhere": 302}.get(kind, 200)
            self.send_response(status)
            self.send_header("Content-Length", str(len(page) + 1000 * (kind == "cut")))
            if kind == "elsewhere":
                self.send_header("Location", "http://127.0.0.1:9/")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(page)

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Liar) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.setenv("CODEVAULT_MIRROR", f"http://127.0.0.1:{server.server_port}/mirror")
        (found,) = warm(cache, [Wanted(sample.url, sample.head)])
        server.shutdown()
    assert found.digest == snapshot.digest
    assert said(caplog) == ["WARNING"]
