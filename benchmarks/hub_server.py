"""Commits of a local repository, served to the Hugging Face hub's own library, on the loopback.

It answers what `snapshot_download` asks: the list of files, and each file with its content's hash.
A process of its own, so that its time is nobody's:

    python -m benchmarks.hub_server REPO ROOT ...     prints its port
"""

from __future__ import annotations

import hashlib
import json
import sys
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.keeping import files

REPO, *ROOTS = sys.argv[1:] or [""]


@cache
def commit_files(commit: str) -> dict[str, bytes]:
    return files(REPO, commit, ROOTS)


class Handler(BaseHTTPRequestHandler):
    """Two kinds of addresses: `/api/models/…/tree/COMMIT` and `/…/resolve/COMMIT/PATH`."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        place = self.path.partition("?")[0]
        self.send_response(200)
        if "/tree/" in place:
            rows = [
                {"type": "file", "path": path, "size": len(content), "oid": _oid(content)}
                for path, content in commit_files(place.rpartition("/")[2]).items()
            ]
            body = json.dumps(rows).encode()
            self.send_header("Content-Type", "application/json")
        else:
            commit, _, path = place.partition("/resolve/")[2].partition("/")
            body = commit_files(commit)[path]
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{_oid(body)}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


def _oid(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
