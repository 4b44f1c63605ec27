"""The ways to keep a commit ready to run that `benchmarks.storing` compares."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.import_tree import write_tree
from codevault_cache import Cache, Wanted, warm

if TYPE_CHECKING:
    from collections.abc import Callable


def git(repo: str, *arguments: str) -> bytes:
    """What a git command prints."""
    identity = ["-c", "user.name=A", "-c", "user.email=a@b"]
    command = ["git", *identity, "-C", repo, *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


def generated(top: str, modules: int, commits: int) -> str:
    """A repository whose every commit changes one module of many."""
    write_tree(Path(top), modules)
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


def _clone(repo: str, commit: str, roots: list[str], place: str) -> None:
    folder = f"{place}/{commit}"
    git(".", "clone", "-q", "--local", "--no-checkout", repo, folder)
    git(folder, "checkout", "-q", commit, "--", *roots)


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
    os.makedirs(f"{place}/blobs", exist_ok=True)
    for path, content in files(repo, commit, roots).items():
        blob = f"{place}/blobs/{hashlib.sha256(content).hexdigest()}"
        if not os.path.exists(blob):
            Path(blob).write_bytes(content)
        link = f"{place}/{commit}/{path}"
        os.makedirs(os.path.dirname(link), exist_ok=True)
        os.symlink(blob, link)


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
    "clone": _clone,
    "hub": _hub,
    "package": _package,
}
