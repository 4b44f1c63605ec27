"""The ways to keep a commit ready to run that `benchmarks.storing` compares."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.import_snapshot import HERE
from benchmarks.import_tree import write_tree
from codevault_cache import Cache, Wanted, warm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HUB_NAME: Final = "some/repository"

_PYPROJECT: Final = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "big"
version = "0"
[tool.hatch.build.targets.wheel]
packages = ["src/big"]
"""


def git(repo: str, *arguments: str) -> bytes:
    """What a git command prints."""
    identity = ["-c", "user.name=A", "-c", "user.email=a@b"]
    command = ["git", *identity, "-C", repo, *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


def generated(top: str, modules: int, commits: int) -> str:
    """A repository whose every commit changes one module of many."""
    write_tree(Path(top), modules)
    Path(top, "pyproject.toml").write_text(_PYPROJECT)
    git(top, "init", "-q")
    for n in range(commits):
        file = Path(top, f"src/big/s{n % 10}/m{n % modules}.py")
        file.write_text(f"{file.read_text()}\nVERSION = {n}\n")
        git(top, "add", "-A")
        git(top, "commit", "-qm", str(n))
    return top


# -- each arm keeps one commit --------------------------------------------------------------------


def _codevault(repo: str, commit: str, roots: list[str], place: str) -> None:
    wanted = Wanted(repo, commit, roots=tuple(roots), shared=(), include=())
    warm(Cache.open(place), [wanted])


def _worktree(repo: str, commit: str, roots: list[str], place: str) -> None:
    folder = f"{place}/{commit}"
    git(repo, "worktree", "add", "-q", "--no-checkout", "--detach", folder, commit)
    git(folder, "checkout", "-q", commit, "--", *roots)


def _uv(repo: str, commit: str, roots: list[str], place: str) -> None:
    """`uv pip install` of the commit into a folder: its cache has clone, checkout and wheel."""
    named = f"{_project(repo, commit)} @ git+file://{os.path.abspath(repo)}@{commit}"
    command = [str(_uv_program()), "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    command += ["--python", sys.executable, "--target", f"{place}/{commit}", named]
    env = {**os.environ, "UV_CACHE_DIR": f"{place}/cache", "UV_OFFLINE": "0"}
    subprocess.run(command, env=env, check=True, capture_output=True)


def _uv_program() -> str | None:
    beside = os.path.join(os.path.dirname(sys.executable), "uv")
    return beside if os.path.exists(beside) else shutil.which("uv")


def _project(repo: str, commit: str) -> str:
    text = git(repo, "show", f"{commit}:pyproject.toml").decode()
    return str(tomllib.loads(text)["project"]["name"])


def files(repo: str, commit: str, roots: list[str]) -> dict[str, bytes]:
    """The regular files of a commit below some folders."""
    listed = git(repo, "ls-tree", "-r", "-z", commit, "--", *roots).decode().split("\0")[:-1]
    rows = [(row.split()[2], row.partition("\t")[2]) for row in listed if row.startswith("100")]
    asked = "".join(f"{oid}\n" for oid, _ in rows).encode()
    command = ["git", "-C", repo, "cat-file", "--batch"]
    out = subprocess.run(command, input=asked, check=True, capture_output=True).stdout
    found, at = {}, 0
    for _, path in rows:
        end = out.index(b"\n", at)
        size = int(out[at:end].split()[2])
        found[path] = out[end + 1 : end + 1 + size]
        at = end + size + 2
    return found


def _hub(repo: str, commit: str, roots: list[str], place: str) -> None:
    """`snapshot_download`, from a server on the loopback."""
    from huggingface_hub import snapshot_download

    with open(f"{place}-port") as port:
        at = f"http://127.0.0.1:{port.read().strip()}"
    snapshot_download(HUB_NAME, revision=commit, endpoint=at, cache_dir=place)


@contextlib.contextmanager
def hub_served(repo: str, roots: list[str], place: str) -> Iterator[None]:
    """The server that `hub` downloads from."""
    command = [sys.executable, "-m", "benchmarks.hub_server", repo, *roots]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE) as server:
        assert server.stdout is not None
        Path(f"{place}-port").write_text(server.stdout.readline())
        try:
            yield
        finally:
            server.kill()


def lacking(arm: str, repo: str, commit: str) -> str:
    """Why a way cannot be taken here, in words; empty if it can."""
    if arm == "hub" and importlib.util.find_spec("huggingface_hub") is None:
        return "huggingface_hub is not installed"
    if arm == "uv":
        if _uv_program() is None:
            return "uv is not installed"
        try:
            with tempfile.TemporaryDirectory() as top:
                _uv(repo, commit, [], f"{top}/uv")
        except (subprocess.CalledProcessError, KeyError):
            return "uv cannot install this repository as it is"
    return ""


def _package(repo: str, commit: str, roots: list[str], place: str) -> None:
    from torch.package.package_exporter import PackageExporter

    os.makedirs(place, exist_ok=True)
    with PackageExporter(f"{place}/{commit}.zip") as exporter:
        exporter.extern("**")
        for path, content in files(repo, commit, roots).items():
            folder, _, name = path.rpartition("/")
            if path.endswith(".py"):
                module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                text = content.decode()
                exporter.save_source_string(module, text, name == "__init__.py", False)
            else:
                exporter.save_binary("files." + folder.replace("/", ".").strip("."), name, content)


KEEP: Final[dict[str, Callable[[str, str, list[str], str], None]]] = {
    "codevault": _codevault,
    "worktree": _worktree,
    "control": _worktree,
    "uv": _uv,
    "hub": _hub,
    "package": _package,
}
