"""A project as users have them: a git work tree with a policy package that the test imports."""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import ModuleType

    from tests.codevault import servers

TOPS = ("walker", "gait", "train", "shared_env", "script")


@pytest.fixture(autouse=True)
def _own_places(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees the developer's grants, state, cache or git configuration."""
    home = tmp_path_factory.mktemp("home")
    for name, folder in (("XDG_STATE_HOME", "state"), ("XDG_CONFIG_HOME", "config")):
        monkeypatch.setenv(name, str(home / folder))
    monkeypatch.setenv("CODEVAULT_CACHE", str(home / "cache"))
    monkeypatch.delenv("CODEVAULT_TRUST", raising=False)
    monkeypatch.delenv("CODEVAULT_OFFLINE", raising=False)
    for name, value in {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.org",
        "GIT_TERMINAL_PROMPT": "0",
    }.items():
        monkeypatch.setenv(name, value)


class Project:
    """A work tree whose modules the test imports as an application does."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.head = ""
        self.net: Any = None
        top.mkdir(parents=True)

    def refactor(self) -> ModuleType:
        """Commits the newer version, and imports it as the application does."""
        self.commit(NEWER)
        return self.load("walker.net")

    def git(self, *args: str) -> str:
        command = ["git", "-C", str(self.top), *args]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, files: Mapping[str, str | bytes | None]) -> None:
        for path, text in files.items():
            full = self.top / path
            if text is None:
                full.unlink()
                continue
            full.parent.mkdir(parents=True, exist_ok=True)
            full.write_bytes(
                text if isinstance(text, bytes) else textwrap.dedent(text).lstrip("\n").encode()
            )

    def commit(self, files: Mapping[str, str | bytes | None] | None = None) -> str:
        if not (self.top / ".git").exists():
            self.git("init", "--quiet", "--initial-branch=main")
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "change")
        return self.git("rev-parse", "HEAD")

    def load(self, module: str, *roots: str) -> ModuleType:
        """Imports `module` as it is on disk now."""
        forget()
        folders = [str(self.top / root) for root in roots or ("src",)]
        sys.path[:] = [*folders, *(entry for entry in sys.path if entry not in folders)]
        importlib.invalidate_caches()
        return importlib.import_module(module)


def forget() -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] in TOPS]:
        del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    before = list(sys.path)
    written = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    yield Project(tmp_path / "project")
    sys.path[:] = before
    sys.dont_write_bytecode = written
    forget()


WALKER: dict[str, str | bytes | None] = {
    "src/walker/__init__.py": "",
    "src/walker/net.py": """
        import torch
        from walker.scale import SCALE

        class Walker(torch.nn.Module):
            def __init__(self, inputs=4, actions=2, act=torch.tanh):
                super().__init__()
                self.body = torch.nn.Linear(inputs, 8)
                self.head = torch.nn.Linear(8, actions)
                self.act = act

            def forward(self, obs):
                return SCALE * self.head(self.act(self.body(obs)))
    """,
    "src/walker/scale.py": "SCALE = 2.0\n",
}
"""The policy package that most tests use; `NEWER` is what it became."""

NEWER: dict[str, str | bytes | None] = {
    "src/walker/net.py": """
        import torch
        from walker.factor import FACTOR

        class Walker(torch.nn.Module):
            def __init__(self, obs_dim=4, actions=2):
                super().__init__()
                self.encoder = torch.nn.Linear(obs_dim, 8)
                self.actor = torch.nn.Linear(8, actions)

            def forward(self, obs):
                return FACTOR * self.actor(self.encoder(obs))
    """,
    "src/walker/scale.py": None,
    "src/walker/factor.py": "FACTOR = 1.0\n",
}


@pytest.fixture
def walker(project: Project) -> Project:
    """The project with the older version of the policy package committed and imported."""
    project.head = project.commit(WALKER)
    project.net = project.load("walker.net")
    return project


@dataclass
class Fleet:
    """Checkpoints of several commits of one repository, which somebody else saved."""

    folder: Path
    repo: str
    commits: list[str]
    site: servers.Web

    def named(self, *numbers: int) -> list[str]:
        return [str(self.folder / f"run-{n}" / "a.mpt") for n in numbers]


@pytest.fixture
def fleet(walker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    import torch

    import codevault
    from tests.codevault import servers

    served = tmp_path / "served"
    served.mkdir()
    with servers.git(served) as site:
        bare = served / "robots.git"
        subprocess.run(["git", "init", "--quiet", "--bare", bare], check=True)
        for key in ("allowFilter", "allowAnySHA1InWant"):
            subprocess.run(["git", "-C", bare, "config", f"uploadpack.{key}", "true"], check=True)
        walker.git("remote", "add", "origin", f"{site.url}/robots.git")
        walker.git("config", "remote.origin.pushurl", str(bare))
        made = Fleet(tmp_path / "runs", f"{site.url}/robots.git", [], site)
        with monkeypatch.context() as other:
            other.setenv("XDG_STATE_HOME", str(tmp_path / "somebody-else"))
            for number in range(4):
                made.commits.append(walker.commit({"src/walker/scale.py": f"SCALE = {number}.0"}))
                walker.git("push", "--quiet", "origin", "main")
                net = walker.load("walker.net")
                for name in ("a", "b"):
                    path = made.folder / f"run-{number}" / f"{name}.mpt"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    codevault.save_policy(path, net.Walker(), probe=torch.ones(1, 4))
        site.requests.clear()
        yield made


@pytest.fixture
def gait(project: Project) -> Any:
    """A project with old files, committed and imported, with the options that name its code."""
    import codevault
    from tests.codevault import old_files

    class Gait:
        top, head = project.top, project.commit(old_files.PROJECT)
        net: Any = project.load("gait.nets", "agent/src")
        code = ("--repo", str(top), "--commit", head, *old_files.ROOTS)
        splint = codevault.load_code(top, head, roots=["agent/src"])

    return Gait


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Callable[[], tuple[str, Path, Callable[[], None]]]]:
    """Starts `git daemon` over a folder: gives its URL, the folder, and how to stop it."""
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> tuple[str, Path, Callable[[], None]]:
        base = tmp_path / f"served-{len(processes)}"
        base.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = ["--reuseaddr", "--export-all", "--listen=127.0.0.1", "--enable=receive-pack"]
        # The daemon's own program: `git daemon` would leave a child behind when it is ended.
        where = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True)
        program = f"{where.stdout.strip()}/git-daemon"
        command = [program, *options, f"--port={port}", f"--base-path={base}", str(base)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        processes.append(process)
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)

        def stop() -> None:
            process.terminate()
            process.wait()

        return f"git://127.0.0.1:{port}", base, stop

    yield start
    for process in processes:
        if process.poll() is None:
            process.terminate()
            process.wait()
