"""Each test gets an interpreter in which nothing is mounted, and leaves it as it was."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import codevault_importhook as hook
from codevault_importhook import registry
from tests.importhook.pictures import (
    CASE,
    HOST,
    NAME,
    OLD,
    ROOTS,
    SHARED,
    TWIN,
    Folder,
    twins_of,
)

if TYPE_CHECKING:
    from pathlib import Path

Lay = Callable[[Mapping[str, str | bytes]], Folder]
Put = Callable[..., hook.Mount]
RunCase = Callable[..., ModuleType]


@pytest.fixture(autouse=True)
def clean_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Takes out what was mounted, and what the host pictures put into `sys.modules`."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for mount in registry.mounts():
        registry.discard(mount.name)  # `unload` would collect garbage after each test
    registry.own_names = frozenset()
    ours = ("_splint_", "metta", "standalone", "pkg", "tool", "helper")
    for name in set(sys.modules) - before:
        if name.startswith(ours):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def lay(tmp_path: Path) -> Lay:
    """Lays a picture out as a folder."""
    numbers = count()
    return lambda picture: Folder(tmp_path / f"tree{next(numbers)}", picture)


@pytest.fixture
def put(request: pytest.FixtureRequest, lay: Lay, host: Any) -> Iterator[Put]:
    """Mounts a picture; with `beside_twins` beside modules of the host of the same names.

    The host's modules must be afterwards what they were before, and none more may be loaded.
    """
    beside = getattr(request, "param", "alone")
    twins: dict[str, ModuleType | None] = {}

    def put(
        picture: Mapping[str, str | bytes],
        *,
        roots: Sequence[str] = (".",),
        shared: Sequence[str] = (),
        name: str = NAME,
    ) -> hook.Mount:
        if beside != "alone":
            own = twins_of(picture, roots).items()
            hosts = tuple(f"{name}." for name in shared)
            modules = {p: m for p, m in own if not f"{m}.".startswith(hosts)}
            host(dict.fromkeys(modules, TWIN))
            for module in modules.values():
                imported = beside == "twin-imported"
                twins[module] = importlib.import_module(module) if imported else None
        return hook.mount(name, lay(picture), roots=roots, shared=shared)

    yield put
    for name, module in twins.items():
        assert sys.modules.get(name) is module, f"{name} of the host"
        assert module is None or vars(module)["host"] == vars(module)["v"] == "host"
        assert module is None or (module.__spec__ is not None and module.__spec__.name == name)


@pytest.fixture
def host(lay: Lay) -> Callable[[Mapping[str, str | bytes]], Folder]:
    """Makes a picture part of the application: a folder on `sys.path`."""

    def host(picture: Mapping[str, str | bytes]) -> Folder:
        folder = lay(picture)
        sys.path.insert(0, str(folder.top))
        importlib.invalidate_caches()
        return folder

    return host


@pytest.fixture(params=["twin-imported", "twin-importable"])
def twin(request: pytest.FixtureRequest, host: Any) -> str:
    """The host has modules of the same names as the snapshot, with other values."""
    host(HOST)
    if request.param == "twin-imported":
        for path in HOST:
            if path.endswith(".py"):
                name = path[:-3].replace("/", ".").removesuffix(".__init__")
                assert getattr(importlib.import_module(name), "VERSION", "new") == "new"
    return str(request.param)


@pytest.fixture(params=["compiled-now", "from-pack"])
def old(request: pytest.FixtureRequest, put: Put) -> RunCase:
    """Runs a text as the module `metta.agent.case` of the old snapshot."""

    def run(text: str, more: Mapping[str, str | bytes] | None = None) -> ModuleType:
        mount = put({**OLD, **(more or {}), CASE: text}, roots=ROOTS, shared=SHARED)
        if request.param == "from-pack":
            mount.use(hook.CodePack(mount.compile(), mount.tag))
        return importlib.import_module(f"{mount.name}.metta.agent.case")

    return run
