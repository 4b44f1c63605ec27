"""What real packages brought up: names that hide a stand-in only where they stand, own finders."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from codevault_importhook.rewrite import Rules, compile_module

if TYPE_CHECKING:
    from tests.importhook.conftest import Put

RULES = Rules(frozenset({"pkg"}), frozenset({"builtins.compile", "builtins.eval", "pickle.loads"}))

HIDDEN = {
    "an assignment": "compile = print\ncompile(1)",
    "an import": "from re import compile\ncompile(1)",
    "a function": "def compile(x): pass\ndef f(): compile(1)",
    "an argument": "def f(compile):\n    def g(): return compile(1)",
    "an argument of a lambda": "f = lambda compile: compile(1)",
    "a local": "def f():\n    compile = print\n    compile(1)",
    "a global in a function": "def f():\n    global compile\n    compile = 1\ndef g(): compile(1)",
    "a class body": "class A:\n    def compile(x): pass\n    y = compile(1)",
    "an argument over an import": "import pickle\ndef f(pickle): return pickle.loads(b'')",
}
SEEN = {
    "a method": "class A:\n    def compile(self): pass\n    def f(self): compile(1)",
    "a method, from outside": "class A:\n    def compile(self): pass\ncompile(1)",
    "an argument elsewhere": "def f(compile): pass\ndef g(): compile(1)",
    "the default of an argument": "def f(compile=compile): pass",
    "the decorator": "@compile\ndef f(compile): pass",
    "a local elsewhere": "def f():\n    compile = 1\ndef g(): compile(1)",
    "a class in a function": "def f():\n    class A:\n        compile = 1\n    compile(1)",
    "a method of a nested class": "class A:\n    class B:\n        compile = 1\n    x = compile(1)",
    "an argument over an import, elsewhere": "import pickle\ndef f(pickle): 1\npickle.loads(b'')",
}


@pytest.mark.parametrize("form", HIDDEN)
def test_strings_a_name_of_their_own_has_no_stand_in(form: str) -> None:
    assert not stands_in(HIDDEN[form])


@pytest.mark.parametrize("form", SEEN)
def test_strings_a_name_hides_a_stand_in_only_in_its_scope(form: str) -> None:
    assert stands_in(SEEN[form])


def test_strings_what_is_only_called_like_a_module_is_itself(put: Put) -> None:
    picture = {
        "pkg/__init__.py": "",
        "pkg/compat.py": "class pickle:\n    def loads(data): return 'mine'\n",
        "pkg/a.py": """
            from pkg.compat import pickle
            from .compat import pickle as other
            seen = pickle.loads(b""), other.loads(b"")
            def missing(): return pickle.dumps
            """,
    }
    mount = put(picture)
    case = __import__(f"{mount.name}.pkg.a", fromlist=["seen"])
    assert case.seen == ("mine", "mine")
    with pytest.raises(AttributeError, match="dumps"):
        case.missing()


def stands_in(text: str) -> bool:
    def names(code: object) -> set[str]:
        inner = [names(c) for c in getattr(code, "co_consts", ())]
        return set(getattr(code, "co_names", ())).union(*inner)

    return "__splint__" in names(compile_module(text.encode(), "x.py", RULES, "_splint_0_0"))


FINDER = """
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == __name__ + ".made":
            return ModuleSpec(name, self)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        module.VALUE = 7

__path__ = []
sys.meta_path.append(Finder())
"""


def test_a_finder_that_old_code_puts_in_is_asked_for_its_own_modules(put: Put) -> None:
    before = list(sys.meta_path)
    try:
        mount = put({"pkg.py": FINDER, "case.py": "import pkg.made\nfrom pkg.made import VALUE\n"})
        case = __import__(f"{mount.name}.case", fromlist=["VALUE"])
        assert case.VALUE == 7
        assert case.pkg.made.__name__ == f"{mount.name}.pkg.made"
        with pytest.raises(ModuleNotFoundError, match=r"'pkg.other' in snapshot"):
            __import__(f"{mount.name}.pkg.other")
    finally:
        sys.meta_path[:] = before


SCAN = """
import importlib.util
import pkgutil
import sys

import plugins

found = {}
for finder, name, _ in pkgutil.walk_packages(plugins.__path__, plugins.__name__ + "."):
    spec = finder.find_spec(name)
    found[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found[name])
    sys.modules[name] = found[name]
"""


def test_strings_finders_that_pkgutil_hands_out_know_full_names(put: Put) -> None:
    """As Hydra loads its plugins: by `__path__` and `__name__` of a package."""
    picture = {
        "plugins/__init__.py": "",
        "plugins/one.py": "from plugins import base\nVALUE = base.VALUE\n",
        "plugins/base.py": "VALUE = 5\n",
        "scan.py": SCAN,
    }
    mount = put(picture)
    scan = __import__(f"{mount.name}.scan", fromlist=["found"])
    names = {f"{mount.name}.plugins.base", f"{mount.name}.plugins.one"}
    assert scan.found.keys() == names
    assert scan.found[f"{mount.name}.plugins.one"].VALUE == 5
    assert not [name for name in sys.modules if name.partition(".")[0] == "plugins"]


WRITTEN = r"""
import importlib.util
import tempfile
from importlib.machinery import SourceFileLoader

with tempfile.TemporaryDirectory() as folder:
    with open(folder + "/made.py", "w") as file:
        file.write("import pkg.inner\nVALUE = pkg.inner.VALUE\n")
    spec = importlib.util.spec_from_file_location("made", folder + "/made.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    values = [module.VALUE, SourceFileLoader("made", folder + "/made.py").load_module().VALUE]
"""


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
def test_strings_a_module_that_old_code_wrote_and_loads_by_its_path(put: Put) -> None:
    mount = put({"pkg/__init__.py": "", "pkg/inner.py": "VALUE = 3", "case.py": WRITTEN})
    try:
        case = __import__(f"{mount.name}.case", fromlist=["values"])
    finally:
        sys.modules.pop("made", None)
    assert case.values == [3, 3]
    assert not [name for name in sys.modules if name.partition(".")[0] == "pkg"]


def test_code_may_nest_as_deeply_as_python_allows(put: Put) -> None:
    text = "def f(a):\n    if a == 0:\n        return 0\n"
    text += "".join(f"    elif a == {n}:\n        return {n}\n" for n in range(1, 1200))
    compile(text, "<string>", "exec")
    in_string = "space = {}\nimport pkg\nexec('import pkg\\n' + pkg.TEXT, space)\n"
    mount = put({"pkg.py": f"{text}TEXT = {text!r}", "case.py": in_string})
    limit = sys.getrecursionlimit()
    assert __import__(f"{mount.name}.pkg", fromlist=["f"]).f(1100) == 1100
    assert __import__(f"{mount.name}.case", fromlist=["space"]).space["f"](1100) == 1100
    assert sys.getrecursionlimit() == limit
