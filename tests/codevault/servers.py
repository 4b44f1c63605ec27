"""Servers on loopback: HTTP with and without ranges, S3, and git over HTTP."""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOTO = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""


@dataclass
class Web:
    """A folder served over HTTP, and what was asked of it.

    Attributes:
        url: Where it is.
        ranges: Whether it answers ranges, as real servers do and Python's does not.
        requests: Method and range of each request.
        sent: Bytes of all bodies.
    """

    url: str = ""
    ranges: bool = True
    requests: list[str] = field(default_factory=list)
    sent: int = 0


@contextlib.contextmanager
def web(folder: Path, *, ranges: bool) -> Iterator[Web]:
    """Serves the files of a folder."""
    state = Web(ranges=ranges)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            asked = self.headers.get("Range", "")
            state.requests.append(f"{self.command} {asked}".strip())
            path = folder / self.path.partition("?")[0].lstrip("/")
            if not path.is_file():
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            size = path.stat().st_size
            start, end = 0, size - 1
            found = re.fullmatch(r"bytes=(\d*)-(\d*)", asked) if state.ranges else None
            if found:
                if found[1]:
                    start, end = int(found[1]), int(found[2] or end)
                else:
                    start = max(0, size - int(found[2]))
                end = min(end, size - 1)
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(end - start + 1))
            self.send_header("ETag", f'"{path.stat().st_mtime_ns}"')
            if state.ranges:
                self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            if not body:
                return
            with open(path, "rb") as file, contextlib.suppress(BrokenPipeError, ConnectionError):
                file.seek(start)
                while start <= end:
                    piece = file.read(min(1 << 16, end - start + 1))
                    self.wfile.write(piece)
                    state.sent += len(piece)
                    start += len(piece)

        def log_message(self, *args: Any) -> None:
            pass

    with _serving(Handler) as url:
        state.url = url
        yield state


@contextlib.contextmanager
def git(folder: Path) -> Iterator[Web]:
    """Serves the bare repositories of a folder by git's own program."""
    state = Web()
    where = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True)
    program = os.path.join(where.stdout.strip(), "git-http-backend")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            path, _, query = self.path.partition("?")
            state.requests.append(f"{self.command} {self.path}")
            env = {
                **os.environ,
                "GIT_PROJECT_ROOT": str(folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(length),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            }
            done = subprocess.run(
                [program], input=self.rfile.read(length), capture_output=True, env=env, check=False
            )
            head, _, body = done.stdout.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            self.send_response(int(fields.pop("Status", "200").split()[0]))
            for key, value in fields.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            state.sent += len(body)

        do_POST = do_GET

        def log_message(self, *args: Any) -> None:
            pass

    with _serving(Handler) as url:
        state.url = url
        yield state


@contextlib.contextmanager
def _serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """An S3 server in a process of its own; its address."""
    server = subprocess.Popen(
        [sys.executable, "-c", _MOTO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield server.stdout.readline().decode().strip()
    finally:
        server.stdin.close()
        server.wait(timeout=60)
        server.stdout.close()
