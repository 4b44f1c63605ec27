"""A cold fetch of one commit, against `git fetch --depth 1` and a checkout of it.

Both sides start from nothing, in fresh processes that alternate in random order, and end with the
commit's files on the disk; CPU time is user plus system, of the process and all that it started.
A second git arm is the control: if it is off by more than 10 %, no verdict is given. The server is
`git daemon` on the loopback; its time is not counted. Bytes are counted on the wire, by a relay, in
a run of their own.

Run from the repository's root:

    python -m benchmarks.cold_fetch [--repo PATH --commit SHA --folder PATH] [--rounds 15]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE: Final = Path(__file__).resolve().parent.parent
BUDGET: Final = 1.0
NOISE: Final = 0.10
ARMS: Final = ("git", "control", "codevault")

_SERVER: Final = """[uploadpack]
	allowFilter = true
	allowAnySHA1InWant = true
[safe]
	directory = *
"""

_CODEVAULT: Final = """
import sys, time
sys.path.insert(0, {cache!r})
from codevault_cache import Cache, Wanted, warm
top, url, commit, root = sys.argv[1:]
# All files, as git has them: by default those above 1 MiB are left out.
include = ("**" if root == "." else root + "/**",)
start = time.process_time()
warm(Cache.open(top), [Wanted(url, commit, roots=(root,), shared=(), include=include)])
print((time.process_time() - start) * 1e3)
"""
_GIT: Final = """
git init -q "$0"; cd "$0"; git fetch -q --depth 1 "$1" "$2"; git checkout -q FETCH_HEAD
"""


# -- the repository and its server ----------------------------------------------------------------


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


# -- one run of an arm ----------------------------------------------------------------------------


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "GIT_"))}
    quiet = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    return {**kept, **quiet}


def _remove(top: str) -> None:
    # Laid-out files are read-only.
    for where, folders, _ in os.walk(top):
        for folder in folders:
            os.chmod(os.path.join(where, folder), 0o700)
    shutil.rmtree(top, ignore_errors=True)


def one(arm: str, top: str, url: str, commit: str, root: str) -> dict[str, float]:
    """Run an arm from nothing.

    Returns:
        Milliseconds: CPU and user time of all processes, wall time, and CPU time of the call alone:
        for codevault from the call of `warm` on, in a process that has imported it.
    """
    if arm == "codevault":
        program = _CODEVAULT.format(cache=str(HERE / "cache"))
        command = [sys.executable, "-c", program, top, url, commit, root]
    else:
        command = ["/bin/sh", "-ec", _GIT, top, url, commit]
    start = time.perf_counter()
    with subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{arm} failed with {status}")
    _remove(top)
    cpu = (usage.ru_utime + usage.ru_stime) * 1e3
    return {
        "cpu_ms": cpu,
        "call_ms": float(said) if arm == "codevault" else cpu,
        "user_ms": usage.ru_utime * 1e3,
        "wall_ms": wall * 1e3,
    }


# -- the comparison -------------------------------------------------------------------------------


def compare(repository: Path, commit: str, folder: str, rounds: int) -> dict[str, Any]:
    """Medians of all arms for one commit, their ratios to git, and the bytes of both."""
    with tempfile.TemporaryDirectory() as scratch, served(repository, Path(scratch)) as port:
        top = os.path.join(scratch, "top")

        def url(at: int) -> str:
            return f"git://127.0.0.1:{at}/{repository.name}"

        def wire_bytes(arm: str, root: str) -> int:
            relay = Relay(port)
            one(arm, top, url(relay.port), commit, root)
            relay.close()
            return relay.bytes

        received = {
            "git": wire_bytes("git", "."),
            "codevault, whole tree": wire_bytes("codevault", "."),
            f"codevault, {folder}": wire_bytes("codevault", folder),
        }
        results: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
        for _ in range(rounds):
            for arm in random.sample(ARMS, len(ARMS)):
                results[arm].append(one(arm, top, url(port), commit, "."))
    medians = {
        arm: {key: round(statistics.median(run[key] for run in runs), 1) for key in runs[0]}
        for arm, runs in results.items()
    }
    report: dict[str, Any] = {"rounds": rounds, "bytes": received, "medians": medians}
    return {**report, **verdict(medians)}


def verdict(medians: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The ratios, and whether the budget is met; no verdict where the control is off."""

    def ratio(arm: str, key: str) -> float:
        return round(medians[arm][key] / medians["git"][key], 3)

    control = ratio("control", "cpu_ms")
    report: dict[str, Any] = {
        "ratio": ratio("codevault", "cpu_ms"),
        "call_ratio": ratio("codevault", "call_ms"),
        "user_ratio": ratio("codevault", "user_ms"),
        "wall_ratio": ratio("codevault", "wall_ms"),
        "control_ratio": control,
        "control_user_ratio": ratio("control", "user_ms"),
    }
    if abs(control - 1) <= NOISE:
        report["within_budget"] = report["ratio"] <= BUDGET
    else:
        report["no_verdict"] = f"the control is off: {control}"
    return report


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--repo", type=Path, help="a bare repository to serve")
    parser.add_argument("--commit", help="a full commit id in it")
    parser.add_argument("--folder", default="src/p7", help="the sub-tree whose bytes are counted")
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--commits", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        if options.repo is None:
            repository = Path(work) / "generated.git"
            commit = write_repository(repository, options.files, options.commits)
        else:
            repository, commit = options.repo.resolve(), options.commit
        report = compare(repository, commit, options.folder, options.rounds)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
