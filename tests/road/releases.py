"""Published releases of Stable-Baselines3 as commits of a git repository, one commit each."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import platformdirs
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GIT_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
}


@dataclass(frozen=True, slots=True)
class Release:
    """One release.

    Attributes:
        version: Its version.
        commit: The commit of the repository that holds it.
        tree: A folder with its files, for a plain run.
        figures: What its policies give alone in a process of their own; a safetensors file.
    """

    version: str
    commit: str
    tree: Path
    figures: Path


@dataclass(frozen=True, slots=True)
class Releases:
    """The repository and its releases, oldest first; the last is the version installed here."""

    repo: Path
    all: tuple[Release, ...]


@contextlib.contextmanager
def own_folders(top: Path) -> Iterator[None]:
    """Lets this process, and those it starts, keep the cache and the user's state below `top`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODEVAULT_CACHE", str(top / "cache"))
        patch.setenv("XDG_STATE_HOME", str(top / "state"))
        patch.setenv("XDG_CONFIG_HOME", str(top / "config"))
        patch.setenv("MPLCONFIGDIR", str(top / "matplotlib"))
        for name in ("CODEVAULT_OFFLINE", "CODEVAULT_TRUST", "CODEVAULT_STARTUP"):
            patch.delenv(name, raising=False)
        for name, value in GIT_ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


def wheel(version: str, package: str = "stable_baselines3") -> str:
    """The wheel of a release; downloaded once per user.

    Skips the test if the package index cannot be reached; in CI that is a failure.
    """
    name = f"{package}-{version}-py3-none-any.whl"
    folder = platformdirs.user_cache_path("codevault-tests", appauthor=False) / "wheels"
    if (folder / name).exists():
        return str(folder / name)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", fresh, f"{package}=={version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            reason = f"{package} {version} cannot be downloaded: {said}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        # Whole or not at all: another worker may be downloading it too.
        os.replace(os.path.join(fresh, name), folder / name)
    return str(folder / name)


def make(folder: Path, versions: tuple[str, ...]) -> Releases:
    """Makes the repository, and runs each release alone."""
    repo = folder / "stable-baselines3"
    git(repo.parent, "init", "--quiet", "--initial-branch=main", str(repo))
    made = []
    for version in versions:
        tree = folder / "alone" / version
        with zipfile.ZipFile(wheel(version)) as archive:
            archive.extractall(tree)
        commit_tree(repo, tree, f"release {version}")
        git(repo, "tag", f"v{version}")
        figures = folder / f"{version}.safetensors"
        run_python(os.path.join(os.path.dirname(__file__), "policy_cases.py"), tree, figures)
        made.append(Release(version, git(repo, "rev-parse", "HEAD"), tree, figures))
    return Releases(repo, tuple(made))


def commit_tree(repo: Path, tree: Path, message: str) -> str:
    """Makes `tree` the whole content of a repository, in one more commit."""
    git(repo, "rm", "-r", "--quiet", "--ignore-unmatch", ".")
    shutil.copytree(tree, repo, dirs_exist_ok=True)
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", message)
    return git(repo, "rev-parse", "HEAD")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **GIT_ENVIRONMENT},
    )
    return done.stdout.strip()


def run_python(program: str | Path, *arguments: str | Path) -> str:
    """Runs a file of Python in a fresh interpreter; what it prints."""
    done = subprocess.run(
        [sys.executable, str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
