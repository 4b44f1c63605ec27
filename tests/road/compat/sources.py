"""Versions of packages from the index: as files of a user's cache, as folders, as a repository."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import platformdirs

from tests.road.releases import git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.road.compat.case import Case

_CACHE: Final = platformdirs.user_cache_path("codevault-tests", appauthor=False) / "compat"
_PURE: Final = ("--only-binary=:all:", "--platform=any", "--implementation=py", "--abi=none")


class NotReachableError(Exception):
    """The package index did not give what was asked for."""


def pip(*arguments: str) -> None:
    """Runs pip.

    Raises:
        NotReachableError: It failed.
    """
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--no-input"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "ERROR" in line] or ["it said nothing"]
        raise NotReachableError(f"pip {' '.join(arguments)}: {said[-1]}")


def _once(target: Path, make: Callable[[Path], None]) -> Path:
    """`target`, made whole or not at all, however many processes want it."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.with_name(target.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=target.parent) as fresh:
                made = Path(fresh) / "made"
                made.mkdir()
                make(made)
                os.replace(made, target)
    return target


def _archive(name: str, version: str, kind: str) -> Path:
    options = _PURE if kind == "wheel" else ("--no-binary=:all:",)

    def make(folder: Path) -> None:
        pip("download", "--no-deps", *options, "--dest", str(folder), f"{name}=={version}")

    (found,) = _once(_CACHE / kind / f"{name}-{version}", make).iterdir()
    return found


def _wheel(name: str, version: str) -> Path:
    def make(folder: Path) -> None:
        with zipfile.ZipFile(_archive(name, version, "wheel")) as archive:
            archive.extractall(folder)

    return _once(_CACHE / "trees" / f"{name}-{version}-wheel", make)


def _sdist(name: str, version: str) -> Path:
    def make(folder: Path) -> None:
        with tarfile.open(_archive(name, version, "sdist")) as archive:
            archive.extractall(folder, filter="data")

    (top,) = _once(_CACHE / "trees" / f"{name}-{version}-sdist", make).iterdir()
    return top


def tree(case: Case, version: str, folder: Path) -> Path:
    """Lays out one version: the package in `lib`; the newer one's tests where its sdist has them.

    What pip would add (`.dist-info`) is left out: a repository does not hold it.
    """
    lib = _wheel(case.name, version)
    drop = shutil.ignore_patterns("*.dist-info", "*.egg-info", "*.data", "__pycache__")
    shutil.copytree(lib, folder / "lib", ignore=drop)
    (folder / "exercise").mkdir()
    shutil.copy(case.exercise, folder / "exercise" / "compat_exercise.py")
    if case.suite is not None and version == case.versions[1]:
        top = _sdist(case.name, version)
        for wanted in (*case.suite.extra, *case.suite.paths):
            if wanted.startswith("lib/") or (folder / wanted).exists():
                continue
            (folder / wanted).parent.mkdir(parents=True, exist_ok=True)
            if (top / wanted).is_dir():
                shutil.copytree(top / wanted, folder / wanted)
            else:
                shutil.copy(top / wanted, folder / wanted)
    return folder


def commit(repo: Path, tree: Path, message: str) -> str:
    """Makes `tree` the whole content of a repository in one more commit, ignored files too."""
    git(repo, "rm", "-r", "--quiet", "--ignore-unmatch", ".")
    shutil.copytree(tree, repo, dirs_exist_ok=True)
    git(repo, "add", "--all", "--force")
    git(repo, "commit", "--quiet", "--message", message)
    return git(repo, "rev-parse", "HEAD")


def top_names(tree: Path) -> frozenset[str]:
    """The top-level names that a version brings."""
    stems = {path.name.partition(".")[0] for path in (tree / "lib").iterdir()}
    return frozenset(stem for stem in stems if stem.isidentifier())


def third_party(needs: Iterable[str], alone: Iterable[str] = ()) -> Path:
    """A user base (see `site`) whose site-packages hold `needs`."""
    wanted, bare = sorted(needs), sorted(alone)
    key = hashlib.sha256("\n".join([*wanted, "", *bare]).encode()).hexdigest()[:16]

    def make(folder: Path) -> None:
        packages = site_packages(folder)
        packages.mkdir(parents=True)
        if wanted:
            pip("install", "--target", str(packages), *wanted)
        if bare:
            pip("install", "--target", str(packages), "--no-deps", *bare)

    return _once(_CACHE / "third-party" / f"{sys.implementation.cache_tag}-{key}", make)


def with_twin(case: Case, base: Path, folder: Path) -> Path:
    """A copy of a user base that has the newer version of the package itself, too."""
    shutil.copytree(base, folder)
    if not case.other_twin:
        wheel = _wheel(case.name, case.versions[1])
        shutil.copytree(wheel, site_packages(folder), dirs_exist_ok=True)
    return folder


def site_packages(base: Path) -> Path:
    """Where `site` looks for packages in a user base."""
    return base / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
