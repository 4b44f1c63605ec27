"""[once] Locks and failed imports behave as CPython's."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import codevault_importhook as hook
from tests.importhook.pictures import NAME, OTHER, Folder, beside_twins

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.importhook.conftest import Put

THREADS = 8


def at_once(*functions: Callable[[], Any]) -> list[Any]:
    """What the functions give when they start at the same moment, each in its thread."""
    barrier = threading.Barrier(len(functions))

    def run(function: Callable[[], Any]) -> Any:
        barrier.wait()
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))


@beside_twins
def test_once_a_failed_import_leaves_nothing_behind(put: Put) -> None:
    put(
        {
            "pkg/__init__.py": "",
            "pkg/bad.py": "import pkg.good\nhalf = 1\nraise ZeroDivisionError('first')",
            "pkg/good.py": "",
            "pkg/a.py": "import pkg.bad",
        }
    )
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="first"):
            importlib.import_module(f"{NAME}.pkg.a")
        assert f"{NAME}.pkg.bad" not in sys.modules
        assert f"{NAME}.pkg.a" not in sys.modules
        assert not hasattr(sys.modules[f"{NAME}.pkg"], "bad")
    assert f"{NAME}.pkg.good" in sys.modules


@beside_twins
def test_once_a_failed_package_takes_itself_out(put: Put) -> None:
    put({"pkg/__init__.py": "import pkg.sub\n1/0", "pkg/sub.py": ""})
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            importlib.import_module(f"{NAME}.pkg")
        assert f"{NAME}.pkg" not in sys.modules
        assert f"{NAME}.pkg.sub" in sys.modules  # as CPython leaves it


@beside_twins
def test_once_a_retry_after_the_cause_is_gone_succeeds(put: Put) -> None:
    put({"pkg/a.py": "import sys\nif not hasattr(sys, '_codevault_go'): raise ImportError('wait')"})
    with pytest.raises(ImportError, match="wait"):
        importlib.import_module(f"{NAME}.pkg.a")
    sys._codevault_go = True  # type: ignore[attr-defined]
    try:
        importlib.import_module(f"{NAME}.pkg.a")
    finally:
        del sys._codevault_go  # type: ignore[attr-defined]


SLOW = """
    import sys, time
    count = sys.__dict__.setdefault('_codevault_count', [])
    count.append(__name__)
    time.sleep(0.002)
    done = True
    """


def test_once_threads_never_see_half_a_module(put: Put) -> None:
    for _ in range(40):
        mount = put({"pkg/__init__.py": "", "pkg/a.py": SLOW})

        def load() -> bool:
            from_list = __import__(f"{NAME}.pkg.a", fromlist=["done"])
            return bool(from_list.done)

        try:
            assert at_once(*[load] * THREADS) == [True] * THREADS
            assert sys.__dict__["_codevault_count"] == [f"{NAME}.pkg.a"]
        finally:
            sys.__dict__.pop("_codevault_count", None)
        hook.unload(mount)


CIRCLE = {
    "pkg/__init__.py": "",
    "pkg/a.py": "import time\ntime.sleep(0.001)\nimport pkg.b as b\nfrom pkg import b as c\nA = 1",
    "pkg/b.py": "import time\ntime.sleep(0.001)\nimport pkg.a as a\nfrom pkg import a as c\nB = 1",
}


def test_once_threads_and_circles_under_the_lock_of_the_mount(put: Put) -> None:
    """Without a lock plain imports of circles fail too, now and then, by CPython's own race."""
    for _ in range(20):
        mounts = [put(CIRCLE, name=name) for name in (NAME, OTHER)]

        def load(mount: hook.Mount, leaf: str) -> int:
            with mount.lock:
                module = importlib.import_module(f"{mount.name}.pkg.{leaf}")
            return int(vars(module)[leaf.upper()])

        loads = [
            lambda m=mounts[i % 2], leaf="ab"[i // 2 % 2]: load(m, leaf) for i in range(THREADS)
        ]
        assert at_once(*loads) == [1] * THREADS
        for mount in mounts:
            hook.unload(mount)


class Slow(Folder):
    """A tree that lets other threads run while it is mounted."""

    @property
    def paths(self) -> set[str]:
        time.sleep(0.01)
        return set(self.files)


def test_once_threads_mount_the_same_tree_once(tmp_path: Path) -> None:
    tree = Slow(tmp_path, {"pkg/a.py": "v = 1"})
    mounts = at_once(*[lambda: hook.mount(NAME, tree, roots=["."])] * THREADS)
    assert len(set(map(id, mounts))) == 1
    finders = [f for f in sys.meta_path if getattr(f, "__name__", "") == "SplintFinder"]
    assert len(finders) == 1
    assert sys.meta_path[0] is finders[0]


def test_once_a_name_stands_for_one_tree(lay: Any) -> None:
    hook.mount(NAME, lay({"pkg/a.py": "v = 1"}), roots=["."])
    tree = lay({"pkg/a.py": "v = 1"})
    assert hook.mount(NAME, tree, roots=[""]) is hook.mount(NAME, tree, roots=["."])
    for other, roots, shared in [
        (lay({"pkg/a.py": "v = 2"}), ["."], []),
        (tree, ["pkg"], []),
        (tree, ["."], ["pkg.b"]),
    ]:
        with pytest.raises(ValueError, match="cannot be mounted again"):
            hook.mount(NAME, other, roots=roots, shared=shared)


@pytest.mark.parametrize("name", ["pkg", "_splint_", "_splint_0123456789ab", f"{NAME}.pkg", ""])
def test_clean_names_only_splint_names_are_mounted(name: str, lay: Any) -> None:
    with pytest.raises(ValueError, match="no splint name"):
        hook.mount(name, lay({}), roots=["."])


def test_once_names_that_are_not_mounted_are_plainly_missing(put: Put) -> None:
    put({"pkg/a.py": ""})
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(f"{OTHER}.pkg.a")
    assert caught.value.name == OTHER


@beside_twins
def test_once_no_file_finder_is_cached_for_a_tree(put: Put) -> None:
    import pkgutil

    mount = put({"pkg/__init__.py": "", "pkg/a.py": "", "pkg/in/b.py": ""})
    package = importlib.import_module(f"{NAME}.pkg")
    list(pkgutil.walk_packages(package.__path__, f"{NAME}.pkg."))
    importlib.util.find_spec(f"{NAME}.pkg.nowhere")
    top = mount.source.location("")
    kinds = {type(f).__name__ for p, f in sys.path_importer_cache.items() if p.startswith(top)}
    assert kinds <= {"TreeEntry"}
    hook.unload(mount)
    assert not [p for p in sys.path_importer_cache if p.startswith(top)]
