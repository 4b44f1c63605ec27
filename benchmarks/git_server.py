"""A generated repository, a git server for it on the loopback, and a relay that counts bytes."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sysconfig
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SERVER: Final = """[uploadpack]
	allowFilter = true
	allowAnySHA1InWant = true
[safe]
	directory = *
"""


def write_repository(path: Path, files: int, commits: int) -> str:
    """A bare repository of the standard library's modules, in 50 packages.

    Args:
        path: Where it is made.
        files: Most modules in it.
        commits: Its history: each commit adds a line to five modules.

    Returns:
        The last commit but one, so that it is no tip.
    """
    choose = random.Random(0)
    library = Path(sysconfig.get_path("stdlib"))
    found = sorted(p for p in library.rglob("*.py") if "site-packages" not in p.parts)
    texts = [file.read_bytes() for file in found[:: max(1, len(found) // files)][:files]]
    stream: list[bytes] = []
    for number in range(commits):
        head = f"commit refs/heads/main\ncommitter A <a@b> {1_700_000_000 + number} +0000\n"
        stream.append(head.encode() + b"data 1\nx\n")
        for i in range(len(texts)) if number == 0 else choose.sample(range(len(texts)), 5):
            if number:
                texts[i] += b"# changed by commit %d\n" % number
            name = f"src/p{i % 50}/m{i}.py"
            stream.append(f"M 100644 inline {name}\ndata {len(texts[i])}\n".encode() + texts[i])
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(path)], check=True)
    git = ["git", "-C", str(path)]
    subprocess.run([*git, "fast-import", "--quiet"], input=b"".join(stream), check=True)
    subprocess.run([*git, "repack", "-adfq"], check=True)
    done = subprocess.run([*git, "rev-parse", "main~1"], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served(repository: Path, work: Path) -> Iterator[int]:
    """`git daemon` for the folder that a bare repository lies in; gives the port."""
    config = work / "server.gitconfig"
    config.write_text(_SERVER)
    where = subprocess.run(["git", "--exec-path"], check=True, capture_output=True, text=True)
    port = _free_port()
    daemon = subprocess.Popen(
        [
            os.path.join(where.stdout.strip(), "git-daemon"),
            "--reuseaddr",
            "--export-all",
            "--listen=127.0.0.1",
            f"--port={port}",
            f"--base-path={repository.parent}",
            str(repository.parent),
        ],
        env={**os.environ, "GIT_CONFIG_GLOBAL": str(config)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        yield port
    finally:
        daemon.terminate()
        daemon.wait()


class Relay:
    """A TCP relay on the loopback that counts the bytes of both directions."""

    def __init__(self, port: int) -> None:
        self.bytes, self._target = 0, port
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._start(self._accept)

    def _start(self, work: Callable[..., None], *args: socket.socket) -> None:
        self._threads.append(threading.Thread(target=work, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._start(
                    self._relay, near, socket.create_connection(("127.0.0.1", self._target))
                )

    def _relay(self, near: socket.socket, far: socket.socket) -> None:
        with near, far:
            back = threading.Thread(target=self._copy, args=(far, near), daemon=True)
            back.start()
            self._copy(near, far)
            back.join()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self.bytes += len(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Accept nothing more, and wait for what is under way."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in list(self._threads):
            thread.join(10)
