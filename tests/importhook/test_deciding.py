"""[strings] Who asks decides: old code gets the old module, the application its own."""

from __future__ import annotations

import asyncio
import builtins
import importlib
import pickle
import re
import sys
import threading
import unittest.mock
from concurrent.futures import ThreadPoolExecutor
from textwrap import dedent
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import codevault_importhook as hook
from tests.importhook.pictures import NAME, OTHER, mounted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.importhook.conftest import Put, RunCase

# -- who decides ----------------------------------------------------------------------------------

CALLBACK = """
    import importlib, metta.agent.x
    def load(name): return importlib.import_module(name).VERSION
    def call(function, *args): return function(*args)
    """


def test_strings_the_innermost_application_frame_decides(twin: str, old: RunCase) -> None:
    case = old(CALLBACK)
    assert case.load("metta.agent.x") == "old"
    assert case.call(lambda: importlib.import_module("metta.agent.x").VERSION) == "new"
    assert case.call(case.load, "metta.agent.x") == "old"


def test_strings_an_application_that_is_installed_decides_too(
    twin: str, old: RunCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files lie in `site-packages`, but its names are those of the snapshot."""
    case = old(CALLBACK)
    monkeypatch.setattr("codevault_importhook.stringimports.is_library_frame", lambda _: True)
    host_x = importlib.import_module("metta.agent.star")
    exec("import importlib\ndef load(name): return importlib.import_module(name)", vars(host_x))
    assert case.call(host_x.load, "metta.agent.x").VERSION == "new"


def test_strings_third_party_helpers_are_walked_past(twin: str, old: RunCase) -> None:
    pydantic = pytest.importorskip("pydantic")
    case = old("""
        from pydantic import TypeAdapter, ImportString
        def load(name): return TypeAdapter(ImportString).validate_python(name)
        """)
    adapter = pydantic.TypeAdapter(pydantic.ImportString)
    assert case.load("metta.agent.x.VERSION") == "old"
    assert adapter.validate_python("metta.agent.x.VERSION") == "new"
    with hook.resolving(mounted()):
        assert adapter.validate_python("metta.agent.x.VERSION") == "old"


def test_strings_library_frames_are_walked_past(twin: str, old: RunCase) -> None:
    case = old(CALLBACK)
    found = case.call(importlib.import_module, "metta.agent.x")
    assert found.VERSION == "old"
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(case.load, "metta.agent.x").result() == "old"


def test_strings_libraries_of_other_environments_are_walked_past(
    twin: str, old: RunCase, tmp_path: Path
) -> None:
    """On `PYTHONPATH`, or in an environment below this one, as uv lays them over each other."""
    site = tmp_path / "other" / "site-packages"
    site.mkdir(parents=True)
    text = "import importlib\ndef load(name): return importlib.import_module(name).VERSION\n"
    (site / "helper_lib.py").write_text(text)
    sys.path.insert(0, str(site))
    case = old("import helper_lib\ndef load(name): return helper_lib.load(name)")
    assert case.load("metta.agent.x") == "old"
    assert importlib.import_module("helper_lib").load("metta.agent.x") == "new"


def test_strings_a_library_that_a_stray_folder_is_called_like_is_walked_past(
    twin: str, old: RunCase
) -> None:
    text = "import pkgutil\nseen = pkgutil.resolve_name('metta.agent.x:VERSION')"
    assert old(text, {"agent/src/pkgutil/notes.txt": ""}).seen == "old"


def test_strings_resolving_decides_for_everyone(twin: str, old: RunCase) -> None:
    case = old(CALLBACK)

    def load() -> object:
        return importlib.import_module("metta.agent.x").VERSION

    assert load() == "new"
    with hook.resolving(mounted()):
        assert load() == "old"
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(load).result() == "new"
    with pytest.raises(ZeroDivisionError), hook.resolving(mounted()):
        _ = 1 / 0
    assert load() == "new"
    assert case.load("metta.agent.x") == "old"


def test_strings_resolving_is_kept_by_tasks_that_start_inside(twin: str, old: RunCase) -> None:
    old(CALLBACK)

    async def load() -> object:
        return importlib.import_module("metta.agent.x").VERSION

    async def both() -> tuple[object, object]:
        outside = asyncio.create_task(load())
        with hook.resolving(mounted()):
            inside = asyncio.create_task(load())
        return await outside, await inside

    assert asyncio.run(both()) == ("new", "old")


def test_strings_two_versions_each_get_their_own(put: Put) -> None:
    def picture(version: int) -> dict[str, str]:
        return {
            "pkg/a.py": "import importlib\ndef f(): return importlib.import_module('pkg.b').V",
            "pkg/b.py": f"V = {version}",
        }

    one = importlib.import_module(f"{put(picture(1)).name}.pkg.a")
    two = importlib.import_module(f"{put(picture(2), name=OTHER).name}.pkg.a")
    assert (one.f(), two.f()) == (1, 2)


def test_strings_a_missing_name_is_never_the_hosts(twin: str, old: RunCase) -> None:
    case = old("""
        import importlib
        names = []
        for load in (importlib.import_module, __import__):
            try: load('metta.extra')
            except ModuleNotFoundError as error: names.append(error.name)
            try: load('metta.agent.x.deeper')
            except ModuleNotFoundError as error: names.append(error.name)
        """)
    assert case.names == ["metta.extra", "metta.agent.x.deeper"] * 2


def test_strings_unloaded_code_does_not_get_the_hosts(twin: str, old: RunCase) -> None:
    load = old(CALLBACK).load
    hook.unload(mounted())
    with pytest.raises(ModuleNotFoundError, match=f"{NAME} is not mounted"):
        load("metta.agent.x")


BY_C = {
    "PyImport_ImportModule": """
        import ctypes
        function = ctypes.pythonapi.PyImport_ImportModule
        function.restype, function.argtypes = ctypes.py_object, [ctypes.c_char_p]
        def load(name): return function(name.encode())
        """,
    "in a function made later": """
        import ctypes
        function = ctypes.pythonapi.PyImport_ImportModule
        function.restype, function.argtypes = ctypes.py_object, [ctypes.c_char_p]
        def load(name): return [(lambda n: function(n.encode()))(n) for n in [name]][0]
        """,
    "the C unpickler": """
        from pickle import *
        def load(name): return loads(f"c{name}\\n__name__\\n.".encode())
        """,
}


@pytest.mark.parametrize("way", BY_C)
def test_strings_C_code_that_imports_by_itself_is_refused(
    way: str, twin: str, old: RunCase
) -> None:
    case = old(BY_C[way])
    for name in ("metta.agent.x", "metta.agent"):
        with pytest.raises(ImportError, match=rf"^{NAME} imports its own '{re.escape(name)}' in a"):
            case.load(name)
    assert (twin == "twin-imported") == ("metta.agent.x" in sys.modules)
    assert case.load("metta.compat") in (importlib.import_module("metta.compat"), "metta.compat")


def test_strings_C_code_imports_for_the_host_what_it_did(twin: str, old: RunCase) -> None:
    case = old(CALLBACK)
    space: dict[str, Any] = {}
    exec(dedent(BY_C["PyImport_ImportModule"]), space)
    assert space["load"]("metta.agent.x").VERSION == "new"
    assert case.call(space["load"], "metta.agent.x").VERSION == "new"
    assert case.call(space["load"], "datetime") is sys.modules["datetime"]


def test_strings_builtins_reached_at_run_time_follow(twin: str, old: RunCase) -> None:
    case = old("""
        import builtins
        import_ = getattr(builtins, "__import__")
        x = import_("metta.agent.x", fromlist=["VERSION"])
        top = import_("metta.agent.x")
        shared = import_("metta.compat")
        names = "print" in __builtins__, __builtins__["len"] is len, isinstance(__builtins__, dict)
        held = globals()["__builtins__"]
        def absent():
            return nowhere
        """)
    assert case.x.VERSION == case.top.agent.x.VERSION == "old"
    assert case.shared.compat is importlib.import_module("metta.compat")
    assert case.names == (True, True, True)
    assert "len" in case.held
    assert case.held["len"] is len
    case.held["nowhere"] = 5
    assert case.absent() == 5
    del case.held["nowhere"]
    assert not hasattr(builtins, "nowhere")


def test_the_builtins_of_the_host_are_what_they_were(
    old: RunCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = old("""
        def absent():
            return nowhere
        def imports():
            import json
            return json
        """)
    real = vars(builtins)["__import__"]
    assert isinstance(builtins, ModuleType)
    assert builtins.__import__ is real
    assert repr(builtins) == "<module 'builtins' (built-in)>"
    assert pickle.loads(pickle.dumps(builtins)) is builtins
    assert pickle.loads(pickle.dumps(real)) is real
    monkeypatch.setattr(builtins, "nowhere", 5, raising=False)
    assert case.absent() == 5
    with unittest.mock.patch("builtins.__import__", wraps=real) as seen:
        import json

        assert case.imports() is json
    assert [call.args[0] for call in seen.call_args_list].count("json") == 2
    assert builtins.__import__ is real
    with monkeypatch.context() as patch:
        patch.delattr(builtins, "__import__")
        assert "__import__" not in vars(builtins)
    assert vars(builtins)["__import__"] is real


def test_strings_a_module_passed_as_a_value_loads_nothing_of_the_host(
    twin: str, old: RunCase
) -> None:
    """What the application has imported before is in `sys.modules`: see docs/limits.md."""
    case = old("""
        import builtins
        def load(name): return use(builtins, f"__import__('{name}', fromlist=['x'])")
        def use(namespace, text): return namespace.eval(text)
        """)
    if twin == "twin-imported":
        assert case.load("metta.agent.x").VERSION == "new"
    else:
        with pytest.raises(ImportError, match=rf"^{NAME} imports its own 'metta\.agent\.x' in a"):
            case.load("metta.agent.x")
        assert "metta.agent.x" not in sys.modules
    assert case.load("metta.compat") is importlib.import_module("metta.compat")
    assert case.load("json.tool") is importlib.import_module("json.tool")


def test_strings_threads_of_the_host_are_not_followed(twin: str, old: RunCase) -> None:
    old(CALLBACK)
    found: list[ModuleType] = []
    thread = threading.Thread(target=lambda: found.append(importlib.import_module("metta.agent.x")))
    thread.start()
    thread.join()
    assert found[0].VERSION == "new"


# -- helpers that import on behalf of their caller ------------------------------------------------

SHARED_HELPER = """
    import importlib
    def load_symbol(path):
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)
    async def load_later(path):
        import asyncio
        await asyncio.sleep(0)
        return load_symbol(path)
    """
CALLER = """
    from pkg.helper import load_symbol, load_later
    def by_helper(path): return load_symbol(path)
    def by_hydra_get(path):
        from hydra.utils import get_class
        return get_class(path)
    def by_hydra(path):
        from hydra.utils import instantiate
        return type(instantiate({"_target_": path}))
    def by_nested_hydra(path):
        from hydra.utils import instantiate
        return type(instantiate({"_target_": "builtins.dict", "a": {"_target_": path}})["a"])
    def by_omegaconf(path):
        from hydra.utils import instantiate
        from omegaconf import OmegaConf
        return type(instantiate(OmegaConf.create({"_target_": path})))
    def by_pydantic(path):
        from pydantic import ImportString, TypeAdapter
        return TypeAdapter(ImportString).validate_python(path)
    def by_pydoc(path):
        import pydoc
        return pydoc.locate(path)
    def by_yaml(path):
        import yaml
        return yaml.load("!!python/name:" + path, yaml.UnsafeLoader)
    def by_yaml_object(path):
        import yaml
        return type(yaml.unsafe_load("a: !!python/object:" + path + " {}")["a"])
    def by_pkgutil(path):
        import pkgutil
        return pkgutil.resolve_name(path)
    """
WAYS = re.findall(r"def (by_\w+)", CALLER)
NEEDS = {"yaml": "yaml", "hydra": "hydra", "omegaconf": "hydra", "pydantic": "pydantic"}


@pytest.fixture(params=["twin-imported", "twin-importable"])
def callers(request: pytest.FixtureRequest, put: Put, host: Any) -> tuple[Any, Any]:
    """The same calling code in a snapshot and in the application, with a shared helper."""
    host(
        {
            "pkg/__init__.py": "",
            "pkg/helper.py": SHARED_HELPER,
            "pkg/caller.py": CALLER,
            "pkg/net.py": "class Net: version = 'new'",
        }
    )
    if request.param == "twin-imported":
        importlib.import_module("pkg.net")
    mount = put(
        {
            "pkg/__init__.py": "",
            "pkg/helper.py": "1/0",
            "pkg/caller.py": CALLER,
            "pkg/net.py": "class Net: version = 'old'",
        },
        shared=["pkg.helper"],
    )
    old = importlib.import_module(f"{mount.name}.pkg.caller")
    return old, importlib.import_module("pkg.caller")


def needs(way: str) -> None:
    """Skips what needs a library that is not there."""
    for name, needed in NEEDS.items():
        if name in way:
            pytest.importorskip(needed)


@pytest.mark.parametrize("way", WAYS)
def test_strings_a_helper_resolves_for_its_caller(way: str, callers: tuple[Any, Any]) -> None:
    needs(way)
    old, new = (getattr(caller, way) for caller in callers)
    for _ in range(2):
        assert old("pkg.net.Net").version == "old"
        assert new("pkg.net.Net").version == "new"
        with hook.resolving(mounted()):
            assert new("pkg.net.Net").version == "old"


@pytest.mark.parametrize("way", WAYS)
def test_strings_threads_in_turn(way: str, callers: tuple[Any, Any]) -> None:
    needs(way)

    def run(number: int) -> list[str]:
        sides = callers[number % 2 :] + callers[: number % 2]
        return [getattr(s, way)("pkg.net.Net").version for _ in range(10) for s in sides]

    with ThreadPoolExecutor(4) as pool:
        for number, found in enumerate(pool.map(run, range(8))):
            assert found == (["old", "new"] if number % 2 == 0 else ["new", "old"]) * 10


@pytest.mark.parametrize("way", ["load_later", *WAYS])
def test_strings_tasks_in_turn(way: str, callers: tuple[Any, Any]) -> None:
    """`load_later` sleeps in its coroutine, so the tasks alternate; who awaits it decides."""
    needs(way)
    source = f"""if True:
        async def awaited(path):
            import asyncio
            await asyncio.sleep(0)
            found = {way}(path)
            return (await found) if {way == "load_later"} else found
        """

    async def run(caller: Any) -> str:
        version: str = (await caller.awaited("pkg.net.Net")).version
        return version

    async def all_of_them() -> list[str]:
        return list(await asyncio.gather(*(run(callers[n % 2]) for n in range(20))))

    for caller in callers:
        exec(source, vars(caller))
    assert asyncio.run(all_of_them()) == ["old", "new"] * 10


def test_strings_resolving_holds_for_a_task_and_not_for_its_neighbour(
    callers: tuple[Any, Any],
) -> None:
    helper = importlib.import_module("pkg.helper")
    mount = next(iter(hook.registry.mounts()))

    async def inside() -> str:
        with hook.resolving(mount):
            version: str = (await helper.load_later("pkg.net.Net")).version
            return version

    async def outside() -> str:
        version: str = (await helper.load_later("pkg.net.Net")).version
        return version

    async def both() -> list[str]:
        return list(await asyncio.gather(*((inside, outside)[n % 2]() for n in range(20))))

    assert asyncio.run(both()) == ["old", "new"] * 10


# -- libraries that unpickle in C -----------------------------------------------------------------

STORED = """
    class Net:
        version = {version!r}
    def numpy(folder):
        import numpy as np
        array = np.array([None, {{"net": Net()}}], dtype=object)
        np.save(folder + "/a.npy", array, allow_pickle=True)
    def stored(folder):
        import numpy as np
        one = np.load(folder + "/a.npy", allow_pickle=True)[1]["net"]
        with open(folder + "/b.pkl", "rb") as file:
            two = np.load(file, allow_pickle=True)
        return [one.version, two.version]
    def shelved(folder):
        import shelve
        with shelve.open(folder + "/s", flag="r") as shelf:
            return [shelf["net"].version]
    """


@pytest.mark.parametrize("way", ["stored", "shelved"])
def test_strings_a_library_that_unpickles_in_c(
    way: str, put: Put, host: Any, tmp_path: Path
) -> None:
    """Files with original names, read by a library for old code and for the application."""
    import pickle
    import shelve

    if way == "stored":
        pytest.importorskip("numpy")
    mount = put({"pkg/__init__.py": "", "pkg/net.py": STORED.format(version="old")})
    host({"pkg/__init__.py": "", "pkg/net.py": STORED.format(version="new")})
    new = importlib.import_module("pkg.net")
    old = importlib.import_module(f"{mount.name}.pkg.net")
    if way == "stored":
        new.numpy(str(tmp_path))
        (tmp_path / "b.pkl").write_bytes(pickle.dumps(new.Net()))
    else:
        with shelve.open(str(tmp_path / "s")) as shelf:
            shelf["net"] = new.Net()
    for caller, version in ((old, "old"), (new, "new"), (old, "old")):
        assert set(getattr(caller, way)(str(tmp_path))) == {version}
