"""[own-or-fail] Import statements of old code reach old code, whatever the host has imported."""

from __future__ import annotations

import gc
import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

from codevault_importhook import CodePack
from tests.importhook.pictures import NAME, OLD, OTHER, ROOTS, SHARED, beside_twins

if TYPE_CHECKING:
    from tests.importhook.conftest import Put, RunCase

FORMS = {
    "import a.b.c": "import metta.agent.x\nseen = metta.agent.x.VERSION",
    "import a.b.c as d": "import metta.agent.x as m\nseen = m.VERSION",
    "import top as": "import standalone as s\nseen = s.VERSION",
    "import top": "import standalone\nseen = standalone.VERSION",
    "import several": """
        import metta.agent.deep.mid.leaf as leaf, os.path as path, metta.common.util
        import os
        seen = leaf.VERSION if path is os.path else 'bad'
        """,
    "namespace chain": "import metta.agent.deep.mid.leaf\nseen = metta.agent.deep.mid.leaf.VERSION",
    "other root and back": "import metta.common.util\nseen = metta.common.util.AGENT",
    "from a import b": "from metta.agent import x\nseen = x.VERSION",
    "from a import b as c, d": "from metta.agent import x as c, star\nseen = c.VERSION",
    "from a.b import name": "from metta.agent.x import VERSION as seen",
    "from a import parenthesised": """
        from metta.agent import (
            x as y,
            star,
        )
        seen = y.VERSION
        """,
    "from top import package": "from metta import agent\nseen = agent.VERSION",
    "star": """
        from metta.agent.star import *
        seen = S1 if 'S3' not in globals() else 'bad'
        """,
    "star without all": "from metta.agent.x import *\nseen = {VERSION, K.VERSION}.pop()",
    "relative": "from . import x\nfrom .x import VERSION\nseen = x.VERSION",
    "relative in namespace": """
        from metta.agent.deep.mid import relative
        from metta.agent.x import K
        seen = relative.VERSION if relative.K is K else 'bad'
        """,
    "relative across roots": "from ..common import util\nseen = util.VERSION",
    "relative parenthesised in function": """
        def f():
            from .deep.mid import (
                leaf,
            )
            return leaf.VERSION
        seen = f()
        """,
    "function level": """
        def f():
            import metta.agent.x as q
            import metta.common.util
            from metta.agent.star import S1
            return {q.VERSION, metta.common.util.VERSION, S1}
        seen, = f()
        """,
    "class level": """
        class C:
            import metta.agent.x as inner
            import metta.common.util
            from metta.agent import star
            v = metta.common.util.VERSION
        seen = C.v if C.inner.VERSION == C.v else 'bad'
        """,
    "class private name": """
        class C:
            import metta.agent.x as __x
            from metta.agent.x import VERSION as __version
            def v(self): return self.__x.VERSION, self.__version
        seen, = set(C().v())
        """,
    "conditional": "if True:\n    import metta.agent.x as c\nseen = c.VERSION",
    "match": "match 1:\n    case 1:\n        import metta.agent.x as c\nseen = c.VERSION",
    "with, for, while, try": """
        import contextlib
        with contextlib.nullcontext():
            import metta.agent.x as a
        for _ in [1]:
            import metta.agent.x as b
        else:
            import metta.agent.x as c
        try:
            import metta.agent.x as d
        finally:
            import metta.agent.x as e
        seen, = {a.VERSION, b.VERSION, c.VERSION, d.VERSION, e.VERSION}
        """,
    "global statement": """
        def f():
            global m
            import metta.agent.x as m
        f()
        seen = m.VERSION
        """,
    "nonlocal": """
        def f():
            m = None
            def g():
                nonlocal m
                import metta.agent.x as m
            g()
            return m.VERSION
        seen = f()
        """,
    "closure": """
        def f():
            import metta.agent.x
            def g(): return metta.agent.x.VERSION
            return g()
        seen = f()
        """,
    "async": """
        async def f():
            from metta.agent.x import VERSION
            return VERSION
        try: f().send(None)
        except StopIteration as stop: seen = stop.value
        """,
    "fallback after ModuleNotFoundError": """
        try: from metta.nowhere import VERSION as seen
        except ModuleNotFoundError: from metta.agent.x import VERSION as seen
        """,
    "fallback after missing name": """
        try: from metta.agent.x import NOWHERE as seen
        except ImportError: from metta.agent.x import VERSION as seen
        """,
    "circular": "import metta.agent.circular_a\nseen = metta.agent.circular_a.value()",
    "submodule behind an attribute": """
        import metta.agent.shadow.sub
        seen = metta.agent.shadow.sub.VERSION
        """,
    "submodule behind an attribute, as": "import metta.agent.shadow.sub as s\nseen = s.VERSION",
    "module __getattr__": "from metta.agent.lazy import value as seen",
    "under TYPE_CHECKING": """
        from __future__ import annotations
        from typing import TYPE_CHECKING
        if TYPE_CHECKING: from metta.nowhere import Type
        from metta.agent.x import VERSION as seen
        """,
    "foreign globals": """
        import types
        def f():
            from metta.agent.x import VERSION
            return VERSION
        seen = types.FunctionType(f.__code__, {"__builtins__": __builtins__})()
        """,
    "own modules of the name of a variable": """
        import metta.agent.x
        x = 1
        seen = metta.agent.x.VERSION
        """,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("twin")
def test_own_or_fail_each_form_of_import(form: str, old: RunCase) -> None:
    assert old(FORMS[form]).seen == "old"


@pytest.mark.parametrize("form", FORMS)
def test_own_or_fail_each_form_of_import_without_a_twin(form: str, put: Put) -> None:
    picture = {**OLD, "agent/src/metta/agent/case.py": FORMS[form]}
    mount = put(picture, roots=ROOTS, shared=SHARED)
    assert importlib.import_module(f"{mount.name}.metta.agent.case").seen == "old"


def test_own_or_fail_loads_nothing_of_the_host(twin: str, old: RunCase) -> None:
    before = set(sys.modules)
    old("import metta.agent.x, metta.common.util, standalone, metta.agent.mocks, metta.compat")
    loaded = {n for n in set(sys.modules) - before if n.startswith(("metta", "standalone"))}
    expected = {"metta", "metta.compat"} if twin == "twin-importable" else set()
    assert loaded == expected


def test_own_or_fail_a_module_that_only_the_host_has_is_missing(twin: str, old: RunCase) -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        old("import metta.extra")
    assert caught.value.name == "metta.extra"
    assert str(caught.value) == (
        f"No module named 'metta.extra' in snapshot {NAME} (roots: agent/src, common/src). If it "
        "is compiled or generated when metta is installed: share it (shared=['metta.extra']), or "
        "lay a stand-in over the tree (overlay={'agent/src/metta/extra.py': ...})"
    )


def test_own_or_fail_names_near_misses(old: RunCase) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"near: metta\.agent\.mocks"):
        old("import metta.agent.moks")


def test_own_or_fail_from_import_of_a_missing_name_is_the_plain_error(old: RunCase) -> None:
    with pytest.raises(ImportError, match="cannot import name 'NOWHERE'") as caught:
        old("from metta.agent import NOWHERE")
    assert type(caught.value) is ImportError


@pytest.mark.parametrize("live", ["imported", "importable", "absent"])
def test_own_or_fail_two_versions_side_by_side(live: str, put: Put, host: Any) -> None:
    def picture(version: int) -> dict[str, str]:
        modules = ("__init__", "model", "config", "utils", "layers/__init__", "layers/mlp")
        text = f"""
            VERSION = {version}
            def versions():
                import pkg.model, pkg.layers.mlp as mlp, pkg
                from pkg.config import VERSION as config
                from .utils import VERSION as utils
                return {{pkg.VERSION, pkg.model.VERSION, mlp.VERSION, config, utils}}
            """
        return {f"src/pkg/{m}.py": text for m in modules}

    names = ("pkg.model", "pkg.config", "pkg.utils", "pkg.layers.mlp", "pkg")
    if live != "absent":
        host({path.removeprefix("src/"): text for path, text in picture(0).items()})
    lives = [importlib.import_module(name) for name in names if live == "imported"]
    first = put(picture(1), roots=["src"])
    second = put(picture(2), roots=["src"], name=OTHER)
    for name in names[:3]:
        one = importlib.import_module(f"{first.name}.{name}")
        two = importlib.import_module(f"{second.name}.{name}")
        assert (one.versions(), two.versions()) == ({1}, {2})
    assert [m for m in map(sys.modules.get, names) if m is not None] == lives
    assert [module.VERSION for module in lives] == [0] * len(lives)


def test_own_or_fail_nothing_within_reach_is_the_hosts(twin: str, old: RunCase) -> None:
    case = old("""
        import metta.common.util, metta.compat, standalone, json
        from metta.agent.mocks import Mock
        from metta.agent import circular_a, star
        class Net(metta.compat.Policy):
            mock = Mock
            def forward(self): return metta.agent.x, circular_a
        """)
    seen: set[int] = set()
    hosts: set[str] = set()
    waiting: list[object] = [case]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        name = getattr(value, "__module__", None) or getattr(value, "__name__", None)
        if isinstance(value, types.ModuleType):
            name = value.__name__
        if isinstance(name, str) and name.startswith(("metta", "standalone")):
            hosts.add(name)
        if isinstance(name, str) and name.startswith("_splint_"):
            waiting += gc.get_referents(value)
        elif isinstance(value, dict | list | tuple | types.CellType | types.MethodType):
            waiting += [part for part in gc.get_referents(value) if part is not sys.modules]
    assert hosts == {"metta.compat"}
    assert len(seen) > 50


def test_own_or_fail_unaliased_import_binds_the_isolated_root(twin: str, old: RunCase) -> None:
    assert old("import metta.agent.x").metta is sys.modules[f"{NAME}.metta"]


def test_own_or_fail_leaves_no_further_name_behind(old: RunCase) -> None:
    case = old("""
        class C:
            import metta.agent.x
        class D:
            import metta.agent.x as y
        """)
    assert {n for n in vars(case.C) if not n.startswith("__")} == {"metta"}
    assert {n for n in vars(case.D) if not n.startswith("__")} == {"y"}
    plain = {"__name__", "__doc__", "__package__", "__loader__", "__spec__", "__file__"}
    assert set(vars(case)) == plain | {"__builtins__", "C", "D"}


def test_own_or_fail_error_name_is_the_original(twin: str, old: RunCase) -> None:
    case = old("""
        import metta.agent.x
        def name_of(statement):
            try: exec(statement)
            except ModuleNotFoundError as error: return error.name
        nowhere = name_of('import metta.nowhere')
        only_today = name_of('import metta.extra as e'), name_of('from metta.extra import VERSION')
        no_package = name_of('import metta.agent.x.deeper')
        """)
    assert case.nowhere == "metta.nowhere"
    assert case.only_today == ("metta.extra", "metta.extra")
    assert case.no_package == f"{NAME}.metta.agent.x.deeper"  # docs/limits.md


def test_own_or_fail_a_library_that_is_not_installed_is_missed_when_used(
    twin: str, old: RunCase
) -> None:
    case = old("""
        def plot():
            import no_such_library.pyplot as plt
            return plt
        def plot_or_not():
            try: from no_such_library import pyplot
            except ImportError: return None
        """)
    assert case.plot_or_not() is None
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'no_such_library'$"):
        case.plot()


def test_own_or_fail_a_name_outside_the_roots_says_what_helps(put: Put) -> None:
    put(
        {"src/pkg/a.py": "import pkg.b", "src/pkg/b.py": "import tool.x", "lib/tool/x.py": ""},
        roots=["src"],
    )
    with pytest.raises(ModuleNotFoundError, match="No module named 'tool'") as caught:
        importlib.import_module(f"{NAME}.pkg.a")
    (note,) = caught.value.__notes__
    assert str(caught.value) == "No module named 'tool'"
    assert note.startswith(f"'tool' is in none of the roots of {NAME} (src): install it, or")
    assert caught.value.name == "tool"


def test_shared_alias_is_the_hosts_object(twin: str, old: RunCase) -> None:
    before = {name: sys.modules.get(name) for name in ("metta", "metta.compat")}
    specs = {name: module.__spec__ for name, module in before.items() if module is not None}
    assert len(specs) == (2 if twin == "twin-imported" else 0)
    case = old("""
        import metta.compat.base
        from metta.compat import Policy
        class Mine(Policy): pass
        base, compat = metta.compat.base, metta.compat
        """)
    compat = importlib.import_module("metta.compat")
    assert case.compat is compat
    assert case.base is importlib.import_module("metta.compat.base")
    assert compat.__spec__ is not None
    assert compat.__spec__.name == compat.__name__ == "metta.compat"
    assert compat is sys.modules[f"{NAME}.metta.compat"]
    for name, spec in specs.items():
        assert sys.modules[name] is before[name]
        assert sys.modules[name].__spec__ is spec
    assert issubclass(case.Mine, compat.Policy)
    assert compat.Policy.registry == {f"{NAME}.metta.agent.case.Mine": case.Mine}
    assert importlib.reload(compat) is compat


def test_shared_alias_names_whole_modules_and_packages_as_such(twin: str, old: RunCase) -> None:
    more = {"agent/src/metta/compatible.py": "VERSION = 'old'"}
    text = """
        import importlib.util
        from metta.compatible import VERSION
        shared = importlib.util.find_spec('metta.compat')
        inner = importlib.util.find_spec('metta.compat.base')
        """
    case = old(text, more)
    assert case.VERSION == "old"
    assert (
        list(case.shared.submodule_search_locations)
        == importlib.import_module("metta.compat").__path__
    )
    assert case.inner.submodule_search_locations is None


@pytest.mark.parametrize("live", ["imported", "importable"])
def test_shared_alias_is_decided_when_found_and_not_when_compiled(
    live: str, put: Put, host: Any
) -> None:
    host({"pkg/__init__.py": "", "pkg/b.py": "VERSION = 'host'"})
    if live == "imported":
        importlib.import_module("pkg.b")
    text = "import pkg.b\nfrom pkg.b import VERSION\ndef f():\n    import pkg.b as b\n    return b"
    picture = {"pkg/__init__.py": "", "pkg/a.py": text, "pkg/b.py": "VERSION = 'old'"}
    alone, sharing = put(picture), put(picture, shared=["pkg.b"], name=OTHER)
    assert alone.tag == sharing.tag
    pack = CodePack(alone.compile(), alone.tag)
    for mount in (sharing, alone):
        mount.use(pack)
        case = importlib.import_module(f"{mount.name}.pkg.a")
        expected = "host" if mount is sharing else "old"
        assert case.VERSION == case.pkg.b.VERSION == case.f().VERSION == expected
        assert (case.pkg.b is importlib.import_module("pkg.b")) == (mount is sharing)


def test_shared_alias_of_a_module_that_fails_leaves_nothing_behind(put: Put, host: Any) -> None:
    host({"pkg/b.py": "raise ZeroDivisionError('host')"})
    mount = put({"pkg/a.py": "import pkg.b", "pkg/b.py": ""}, shared=["pkg.b"])
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="host"):
            importlib.import_module(f"{mount.name}.pkg.a")
        assert not [n for n in sys.modules if n.endswith(("pkg.a", "pkg.b"))]
        assert not hasattr(sys.modules[f"{mount.name}.pkg"], "b")


def test_shared_alias_that_the_host_lacks_is_missing_and_never_the_trees(old: RunCase) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"'metta.compat' in the application, with which"):
        old("import metta.compat")


def test_shared_alias_of_a_host_module_without_a_spec(put: Put) -> None:
    mount = put({"pkg/a.py": "import tool\nfrom tool import V"}, shared=["tool"])
    sys.modules["tool"] = type(sys)("tool")
    sys.modules["tool"].V = 1  # type: ignore[attr-defined]
    mount = put({"pkg/a.py": "import tool", "tool.py": "1/0"}, shared=["tool"], name=OTHER)
    assert importlib.import_module(f"{mount.name}.pkg.a").tool is sys.modules["tool"]


@beside_twins
@pytest.mark.parametrize("path", ["sitecustomize.py", "usercustomize.py", "conftest.py", "a.pth"])
def test_no_run_files_that_python_runs_by_itself(path: str, put: Put) -> None:
    mount = put({"pkg/a.py": "", "pkg/__init__.py": "", path: "raise RuntimeError('it ran')"})
    importlib.import_module(f"{mount.name}.pkg.a")


@beside_twins
def test_no_run_main_blocks_and_bytecode(put: Put) -> None:
    picture: dict[str, str | bytes] = {
        "pkg/a.py": "seen = __name__\nif __name__ == '__main__': raise RuntimeError",
        "pkg/b.pyc": b"\x00" * 16,
        "pkg/__pycache__/a.cpython-311.pyc": b"\x00" * 16,
    }
    mount = put(picture)
    assert importlib.import_module(f"{mount.name}.pkg.a").seen == f"{mount.name}.pkg.a"
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{mount.name}.pkg.b")
    assert importlib.util.find_spec(f"{mount.name}.pkg.b") is None
