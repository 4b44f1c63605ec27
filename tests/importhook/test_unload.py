"""[unload] The modules go, and what still holds them is named."""

from __future__ import annotations

import contextlib
import gc
import importlib
import linecache
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import codevault_importhook as hook
from tests.importhook.pictures import NAME, OTHER, beside_twins

if TYPE_CHECKING:
    from tests.importhook.conftest import Put

pytestmark = beside_twins

PICTURE = {
    "pkg/__init__.py": "",
    "pkg/a.py": """
        from __future__ import annotations
        import dataclasses, sys, typing
        import pkg.b
        from pkg.b import K
        @dataclasses.dataclass
        class D:
            k: typing.Optional[K] = None
            d: D = None
        hints = typing.get_type_hints(D)
        alias = typing.Optional[D]
        modules = sys.modules
        def f(): raise ValueError(pkg.b)
        """,
    "pkg/b.py": "class K: pass\n",
}


def test_unload_frees_everything(put: Put) -> None:
    mount = put(PICTURE)
    module = importlib.import_module(f"{NAME}.pkg.a")
    parts = [weakref.ref(p) for p in (module, module.D, module.K, module.f, mount, mount.loader)]
    linecache.getlines(module.__file__ or "")
    with contextlib.suppress(ValueError):
        module.f()
    del module
    assert hook.unload(mount) == ()
    assert not [name for name in sys.modules if name.startswith(NAME)]
    top = mount.source.location("")
    assert not [f for f in linecache.cache if f.startswith(top)]
    del mount
    gc.collect()
    assert [part() for part in parts] == [None] * len(parts)


def test_unload_names_a_registry_of_a_shared_class(put: Put, host: Any) -> None:
    host(
        {
            "pkg/shared.py": """
            class Base:
                registry = {}
                def __init_subclass__(cls): Base.registry[cls.__name__] = cls
            """
        }
    )
    mount = put(
        {"pkg/a.py": "from pkg.shared import Base\nclass Mine(Base): pass"}, shared=["pkg.shared"]
    )
    importlib.import_module(f"{NAME}.pkg.a")
    held = hook.unload(mount)
    assert [line for line in held if line.startswith(f"{NAME}.pkg.a.Mine (held by ")]
    assert "pkg.shared.Base.registry" in held[0]
    assert "pkg.shared" in sys.modules


def test_unload_names_a_module_and_a_function_that_are_held(put: Put) -> None:
    mount = put(PICTURE)
    module = importlib.import_module(f"{NAME}.pkg.b")
    kept = [module.K]
    held = hook.unload(mount)
    assert [line.partition(" ")[0] for line in held] == [f"{NAME}.pkg.b", f"{NAME}.pkg.b.K"]
    assert kept


def test_unload_leaves_the_other_version_and_its_neighbours(put: Put) -> None:
    first, second = put(PICTURE), put(PICTURE, name=OTHER)
    importlib.import_module(f"{NAME}.pkg.a")
    other = importlib.import_module(f"{OTHER}.pkg.a")
    linecache.getlines(other.__file__ or "")
    assert hook.unload(first) == ()
    assert importlib.import_module(f"{OTHER}.pkg.a") is other
    assert other.__file__ in linecache.cache
    assert second.modules().keys() == {"pkg", "pkg.a", "pkg.b"}


def test_unload_twice_is_nothing(put: Put) -> None:
    mount = put(PICTURE)
    assert hook.unload(mount) == hook.unload(mount) == ()


def test_unload_then_mount_again(put: Put) -> None:
    hook.unload(put(PICTURE))
    put({"pkg/a.py": "v = 'again'"})
    assert importlib.import_module(f"{NAME}.pkg.a").v == "again"


def test_unload_imports_of_unloaded_functions_fail(put: Put) -> None:
    mount = put({"pkg/a.py": "def f():\n    import pkg.b\n", "pkg/b.py": ""})
    f = importlib.import_module(f"{NAME}.pkg.a").f
    hook.unload(mount)
    with pytest.raises(ModuleNotFoundError, match=NAME):
        f()
