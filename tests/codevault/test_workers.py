"""[processes] workers and fresh interpreters find a splint by its name, and never fetch it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import torch

import codevault

if TYPE_CHECKING:
    from pathlib import Path

UNPICKLE = "import pickle, sys; print(type(pickle.load(sys.stdin.buffer)).__module__)"


def remove(folder: str) -> None:
    for here, _, _ in os.walk(folder):
        os.chmod(here, 0o700)
    shutil.rmtree(folder)


@pytest.fixture
def policy(walker: Any) -> Any:
    splint = codevault.load_code(walker.top, walker.head)
    return splint.load_symbol("walker.net:Walker")()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_processes_pool_gets_an_isolated_policy(method: str, policy: Any) -> None:
    context = multiprocessing.get_context(method)
    obs = torch.ones(1, 4)
    policy.requires_grad_(False)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        answer = pool.submit(policy, obs).result(timeout=120)
    assert torch.equal(answer, policy(obs))


def unpickle(data: bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", UNPICKLE],
        input=data,
        capture_output=True,
        env={**os.environ, **environment},
        cwd="/",
    )


def test_processes_fresh_interpreter_unpickles(policy: Any) -> None:
    done = unpickle(pickle.dumps(policy))
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().strip() == type(policy).__module__


def test_processes_snapshot_missing_in_the_worker_is_a_clear_error(
    policy: Any, tmp_path: Path
) -> None:
    data = pickle.dumps(policy)
    name = type(policy).__module__.partition(".")[0]
    done = unpickle(data, XDG_STATE_HOME=str(tmp_path / "another-user"))
    stranger = f"ModuleNotFoundError: {name} is code of a codevault snapshot that this user has not"
    assert stranger.encode() in done.stderr
    remove(os.environ["CODEVAULT_CACHE"])
    done = unpickle(data)
    gone = f"ModuleNotFoundError: {name} is not in this machine's cache any more"
    assert gone.encode() in done.stderr
    assert b"codevault prefetch" in done.stderr


def test_processes_rehearsal_leaves_the_users_records_alone(walker: Any, tmp_path: Path) -> None:
    path, obs = tmp_path / "best.mpt", torch.ones(1, 4)
    codevault.save_policy(path, walker.net.Walker(), probe=obs)
    policy = codevault.load_policy(path)
    codevault.save_policy(tmp_path / "again.mpt", walker.net.Walker(), probe=obs, rehearse=True)
    assert unpickle(pickle.dumps(policy)).returncode == 0


def test_processes_any_cache_that_still_exists_will_do(walker: Any, tmp_path: Path) -> None:
    path, obs = tmp_path / "best.mpt", torch.ones(1, 4)
    codevault.save_policy(path, walker.net.Walker(), probe=obs)
    policy = codevault.load_policy(path)
    codevault.load_policy(path, cache=tmp_path / "another")
    remove(str(tmp_path / "another"))
    assert unpickle(pickle.dumps(policy)).returncode == 0


def test_processes_startup_file_can_be_switched_off(policy: Any) -> None:
    done = unpickle(pickle.dumps(policy), CODEVAULT_STARTUP="0")
    assert b"No module named '_splint_" in done.stderr


def test_processes_startup_file_answers_only_splints() -> None:
    program = (
        "import sys\n"
        "f = [f for f in sys.meta_path if getattr(f, '__name__', '') == 'SplintStartup']\n"
        "assert len(f) == 1, f; before = set(sys.modules);"
        "assert f[0].find_spec('nothing.here') is None; assert f[0].find_spec('_splint') is None;"
        "assert set(sys.modules) == before; assert 'codevault' not in before"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_unload_is_not_undone_by_code_that_imports_later(project: Any) -> None:
    """[unload] By a statement or by a string: else its modules would come back as others."""
    text = """
        import importlib
        def by_statement():
            import walker.late
        def by_string():
            importlib.import_module("walker.late")
    """
    commit = project.commit({"src/walker/net.py": text, "src/walker/late.py": "V = 1\n"})
    splint = codevault.load_code(project.top, commit)
    net: Any = splint.import_module("walker.net")
    splint.unload()
    for late in (net.by_statement, net.by_string):
        with pytest.raises(ModuleNotFoundError, match=f"{splint.name} is not mounted"):
            late()
    with pytest.raises(ModuleNotFoundError, match=r"load it again with codevault\.load_policy"):
        splint.import_module("walker.late")
    assert not [name for name in sys.modules if name.startswith(splint.name)]
    assert codevault.load_code(project.top, commit).load_symbol("walker.late:V") == 1
    net.by_statement()
