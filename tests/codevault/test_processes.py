"""[processes] Programs whose main module knows nothing of codevault send old code to workers."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

MAIN = """
import sys
import app

if __name__ == "__main__":
    app.main(*sys.argv[1:])
"""
APP = """
import json, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor

def old_code(repo, commit):
    import codevault
    return codevault.load_code(repo, commit).import_module("walker.work")

def pool(work, context):
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        done = pool.submit(work.step, work.Task(3))
        return done.result(timeout=100).value

def target(work, context):
    queue = context.Queue()
    worker = context.Process(target=work.run, args=(work.Task(3), queue))
    worker.start()
    value = queue.get(timeout=100)
    worker.join()
    return value

def loader(work, context):
    from torch.utils.data import DataLoader
    loader = DataLoader(
        work.Data(), batch_size=3, num_workers=1, collate_fn=work.collate,
        worker_init_fn=work.begin, multiprocessing_context=context, timeout=100,
    )
    return [batch.value for batch in loader]

def main(repo, commit, method, twin, *ways):
    if twin == "imported":
        import walker.work  # today's
    work = old_code(repo, commit)
    assert ("walker.work" in sys.modules) == (twin == "imported")
    context = multiprocessing.get_context(method)
    print(json.dumps([globals()[way](work, context) for way in ways]))
"""
WORK = """
    from walker.scale import SCALE

    class Task:
        def __init__(self, value):
            self.value = value

    def step(task):
        import walker.scale
        return Task(task.value * SCALE * walker.scale.SCALE)

    def run(task, queue):
        queue.put(step(task).value)

    class Data:
        def __len__(self):
            return 3
        def __getitem__(self, at):
            return Task(at)

    started = []

    def begin(number):
        from walker.scale import SCALE
        started.append(SCALE)

    def collate(tasks):
        import importlib
        assert started == [2.0], started
        return Task([t.value * importlib.import_module("walker.scale").SCALE for t in tasks])
    """


@pytest.fixture
def program(project: Any, tmp_path: Path) -> Any:
    """Two versions of `walker.work` in one repository, and a program beside them."""
    package = {"src/walker/__init__.py": "", "src/walker/work.py": WORK}
    commit = project.commit({**package, "src/walker/scale.py": "SCALE = 2.0\n"})
    project.commit({"src/walker/scale.py": "SCALE = 77.0\n"})
    (tmp_path / "main.py").write_text(MAIN)
    (tmp_path / "app.py").write_text(APP)

    def run(*arguments: str, app: str | None = None) -> Any:
        if app is not None:
            (tmp_path / "app.py").write_text(app)
        done = subprocess.run(
            [sys.executable, str(tmp_path / "main.py"), str(project.top), commit, *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(project.top / "src")},
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


EXPECTED = {"pool": 12.0, "target": 12.0, "loader": [[0.0, 2.0, 4.0]]}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("twin", ["imported", "importable"])
def test_processes_pools_targets_and_data_loaders(method: str, twin: str, program: Any) -> None:
    ways = [way for way in EXPECTED if way != "loader" or importlib.util.find_spec("torch")]
    assert program(method, twin, *ways) == [EXPECTED[way] for way in ways]


RAY = """
import json

def main(repo, commit, state):
    import walker.work  # today's
    import codevault, ray
    work = codevault.load_code(repo, commit).import_module("walker.work")
    ray.init(num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.1", _temp_dir=state,
             log_to_driver=False, object_store_memory=100 * 2**20)
    step = ray.remote(work.step)

    @ray.remote
    class Actor:
        def __init__(self, task):
            self.task = task
        def value(self):
            return self.task.value, type(self.task).__module__

    task = ray.put(work.Task(3))
    value = ray.get(step.remote(task)).value
    held = ray.get(Actor.remote(task).value.remote())
    ray.shutdown()
    print(json.dumps([value, held[0], held[1] == work.__name__]))
"""


@pytest.mark.slow
def test_processes_ray_workers(program: Any) -> None:
    """Ray sends functions and classes by name: its workers find them through the start-up file."""
    pytest.importorskip("ray", reason="Ray has no wheel for this platform")
    state = tempfile.mkdtemp(prefix="ray-")  # its sockets' names must be short
    try:
        assert program(state, app=RAY) == [12.0, 3, True]
    finally:
        shutil.rmtree(state, ignore_errors=True)
