"""Real git repositories, made by git itself, and real servers for them on the loopback."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from codevault_cache import Cache, atomicwrite

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
    "GIT_TERMINAL_PROMPT": "0",
    # Nobody needs these repositories after a power cut.
    "GIT_TEST_FSYNC": "false",
}


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name, value in _ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CODEVAULT_OFFLINE", raising=False)
    monkeypatch.setenv("CODEVAULT_CACHE", str(tmp_path_factory.mktemp("default-cache")))
    # Waiting for the disk is tested where it matters.
    monkeypatch.setattr(atomicwrite, "durable", False)


class Repo:
    """A work tree that tests write to and commit."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def git(self, *args: str, env: dict[str, str] | None = None, data: bytes | None = None) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.top), *args],
            check=True,
            capture_output=True,
            input=data,
            env={**os.environ, **(env or {})},
        )
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def write(self, files: dict[str, str | bytes]) -> None:
        for path, content in files.items():
            target = self.top / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: dict[str, str | bytes] | None = None, message: str = "change") -> str:
        self.write(files or {})
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def bare(self, path: Path) -> Path:
        subprocess.run(
            ["git", "clone", "-q", "--bare", "--no-local", str(self.top), str(path)],
            check=True,
            capture_output=True,
        )
        return path

    def hash_object(self, kind: str, raw: bytes) -> str:
        return self.git("hash-object", "-t", kind, "-w", "--stdin", "--literally", data=raw)

    def tree_commit(self, raw: bytes) -> str:
        """A commit of a tree whose bytes git would not write."""
        tree = self.hash_object("tree", raw)
        head = f"tree {tree}\nauthor A <a@b> 0 +0000\ncommitter A <a@b> 0 +0000\n\nx\n"
        return self.hash_object("commit", head.encode())


@pytest.fixture
def make_repo(tmp_path: Path) -> Callable[..., Repo]:
    def make(files: dict[str, str | bytes] | None = None, name: str = "work", *init: str) -> Repo:
        top = tmp_path / name
        top.mkdir()
        repo = Repo(top)
        repo.git("init", "-q", "-b", "main", *init)
        if files is not None:
            repo.commit(files)
        return repo

    return make


SAMPLE: dict[str, str | bytes] = {
    "src/agent/__init__.py": "from agent.net import width\n",
    "src/agent/net.py": "width = 3\n",
    "src/agent/data.json": "{}\n",
    "configs/a.yaml": "a: 1\n",
    "configs/deep/b.yaml": "b: 2\n",
    "README.md": "read me\n",
    "tool.sh": "#!/bin/sh\n",
}


@pytest.fixture
def sample(make_repo: Callable[..., Repo]) -> Repo:
    repo = make_repo()
    repo.write(SAMPLE)
    (repo.top / "tool.sh").chmod(0o755)
    repo.commit()
    return repo


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache.open(tmp_path / "cache")


def _backend() -> str:
    path = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True)
    return os.path.join(path.stdout.strip(), "git-http-backend")


def digest_is_right(header: str, secret: str, method: str) -> bool:
    """Tell whether an Authorization header is the right digest (RFC 7616, MD5, qop=auth)."""
    said = dict(re.findall(r'(\w+)="?([^",]*)"?', header))
    user, _, password = secret.partition(":")

    def h(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode()).hexdigest()

    right = h(
        h(user, "x", password),
        *(said.get(name, "") for name in ("nonce", "nc", "cnonce")),
        "auth",
        h(method, said.get("uri", "")),
    )
    return said.get("response") == right


class Server:
    """One server: its URL for a folder, and what it was asked."""

    def __init__(self, url: str, stop: Callable[[], None]) -> None:
        self.url = url
        self.requests: list[str] = []
        self.told: list[str] = []
        self.auth: str | None = None
        self.digest: str | None = None
        self.version = 2
        self.trouble: list[str] = []
        self.stop = stop


@pytest.fixture
def http_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    running: list[Server] = []
    backend = _backend()

    def serve(folder: Path, tls: ssl.SSLContext | None = None) -> Server:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else b""
                path, _, query = self.path.partition("?")
                server.requests.append(f"{self.command} {self.path}")
                server.told.append(str(self.headers))
                if server.trouble:
                    self.make_trouble(server.trouble.pop())
                    return
                if server.digest is not None:
                    given = self.headers.get("Authorization", "")
                    if not digest_is_right(given, server.digest, self.command):
                        self.send_response(401)
                        self.send_header(
                            "WWW-Authenticate", 'Digest realm="x", nonce="n", qop="auth"'
                        )
                        self.send_header("Content-Length", "0")
                        self.end_headers()
                        return
                if server.auth is not None:
                    right = "Basic " + base64.b64encode(server.auth.encode()).decode()
                    if self.headers.get("Authorization") != right:
                        self.send_response(401)
                        self.send_header("WWW-Authenticate", 'Basic realm="x"')
                        self.send_header("Content-Length", "0")
                        self.end_headers()
                        return
                env = {
                    **os.environ,
                    "GIT_PROJECT_ROOT": str(folder),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "PATH_INFO": path,
                    "QUERY_STRING": query,
                    "REQUEST_METHOD": self.command,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "CONTENT_LENGTH": str(len(body)),
                    "REMOTE_ADDR": "127.0.0.1",
                }
                if self.headers.get("Content-Encoding"):
                    env["HTTP_CONTENT_ENCODING"] = self.headers["Content-Encoding"]
                if self.headers.get("Git-Protocol") and server.version == 2:
                    env["GIT_PROTOCOL"] = self.headers["Git-Protocol"]
                done = subprocess.run(
                    [backend], input=body, capture_output=True, env=env, check=False
                )
                head, _, content = done.stdout.partition(b"\r\n\r\n")
                status, headers = 200, []
                for line in head.decode().split("\r\n"):
                    key, _, value = line.partition(": ")
                    if key == "Status":
                        status = int(value.split()[0])
                    elif key:
                        headers.append((key, value))
                self.send_response(status)
                for key, value in headers:
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def make_trouble(self, trouble: str) -> None:
                """Answer with a status, or fall silent in the middle."""
                self.close_connection = True
                if trouble == "drop":
                    return
                status, _, more = trouble.partition(" ")
                self.send_response(200 if status == "cut" else int(status))
                kind, page = "application/x-git-upload-pack-advertisement", b""
                if more.startswith("after "):
                    self.send_header("Retry-After", more.removeprefix("after "))
                elif more.startswith("to "):
                    self.send_header("Location", more.removeprefix("to "))
                elif more == "page":
                    kind, page = "text/html", b"<html>please log in</html>"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", "1000" if status == "cut" else str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            do_GET = do_POST = answer

        httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        httpd.daemon_threads = True
        if tls is not None:
            httpd.socket = tls.wrap_socket(httpd.socket, server_side=True)
        thread = threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        stopped = threading.Event()

        def stop() -> None:
            if not stopped.is_set():
                stopped.set()
                httpd.shutdown()
                httpd.server_close()
                thread.join(10)

        scheme = "http" if tls is None else "https"
        server = Server(f"{scheme}://127.0.0.1:{httpd.server_address[1]}", stop)
        running.append(server)
        return server

    yield serve
    for server in running:
        server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def git_daemon() -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def serve(folder: Path, *options: str) -> Server:
        port = _free_port()
        # The daemon's own program: `git daemon` would leave a child behind when it is ended.
        program = os.path.join(os.path.dirname(_backend()), "git-daemon")
        process = subprocess.Popen(
            [
                program,
                "--reuseaddr",
                "--listen=127.0.0.1",
                f"--port={port}",
                f"--base-path={folder}",
                "--export-all",
                *options,
                str(folder),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def stop() -> None:
            if process.poll() is None:
                process.terminate()
            process.wait(10)

        server = Server(f"git://127.0.0.1:{port}", stop)
        running.append(server)
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return server
            time.sleep(0.02)
        raise AssertionError("git daemon does not start")

    yield serve
    for server in running:
        server.stop()


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., str]:
    """Run a program in a fresh interpreter that finds the cache's code."""

    def run(program: str, *args: str, flags: tuple[str, ...] = (), **env: str) -> str:
        where = os.path.dirname(os.path.dirname(os.path.abspath(atomicwrite.__file__)))
        done = subprocess.run(
            [sys.executable, *flags, "-c", program, *args],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": where, **env},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Exception ignored" not in done.stderr, done.stderr
        return done.stdout

    return run
