"""Real releases of a real package in a repository, and a cache that tests of one process share."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.road import releases as made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all tests: a splint that one of them mounted has its files there."""
    return tmp_path_factory.mktemp("road")


@pytest.fixture(autouse=True)
def isolated(scratch: Path) -> Iterator[None]:
    with made.own_folders(scratch):
        yield


@pytest.fixture(scope="session")
def releases(scratch: Path) -> made.Releases:
    """Two old releases, and the one that is installed here."""
    installed = importlib.metadata.version("stable-baselines3")
    with made.own_folders(scratch):
        return made.make(scratch, ("2.0.0", "2.3.2", installed))


@pytest.fixture
def git_daemon() -> Iterator[Callable[[Path], str]]:
    """Serves the repositories of a folder on the loopback; gives the folder's URL."""
    running = []

    def serve(folder: Path) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # The daemon's own program: `git daemon` would leave a child behind when it is ended.
        path = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True)
        program = shutil.which("git-daemon", path=path.stdout.strip())
        assert program is not None, "this git has no daemon"
        command = [program, "--reuseaddr", "--listen=127.0.0.1", f"--port={port}"]
        command += ["--export-all", f"--base-path={folder}", os.fspath(folder)]
        quiet = subprocess.DEVNULL
        running.append(subprocess.Popen(command, stdout=quiet, stderr=quiet))
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return f"git://127.0.0.1:{port}"
        raise AssertionError("git daemon does not start")

    yield serve
    for process in running:
        process.terminate()
        process.wait(10)
