"""[strings] A module that old code names by a string is the old one."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import pickle
import pkgutil
import sys
from typing import TYPE_CHECKING, Any

import pytest

import codevault_importhook as hook
from codevault_importhook import stand_ins
from tests.importhook.pictures import CASE, NAME, OLD, OTHER, ROOTS, SHARED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.importhook.conftest import Put, RunCase

FORMS = {
    "importlib.import_module": """
        import importlib
        seen = importlib.import_module('metta.agent.x').VERSION
        """,
    "bound import_module": """
        from importlib import import_module as load
        seen = load('metta.common.util').VERSION
        """,
    "relative to __package__": """
        import importlib
        seen = importlib.import_module('.x', __package__).VERSION
        """,
    "relative to a literal": """
        import importlib
        seen = importlib.import_module('.x', 'metta.agent').VERSION
        """,
    "two levels up": """
        import importlib
        seen = importlib.import_module('..common.util', 'metta.agent').VERSION
        """,
    "importlib.__import__": """
        import importlib
        seen = importlib.__import__('metta.agent.x').agent.x.VERSION
        """,
    "__import__": "seen = __import__('metta.agent.x').agent.x.VERSION",
    "__import__ with fromlist": """
        seen = __import__('metta.agent.x', globals(), locals(), ['VERSION'], 0).VERSION
        """,
    "__import__ as a value": """
        load = __import__
        seen = load('metta.agent.x', fromlist=['VERSION']).VERSION
        """,
    "__import__ relative": "seen = __import__('x', globals(), None, ['VERSION'], 1).VERSION",
    "builtins.__import__": """
        import builtins
        seen = builtins.__import__('metta.agent.x', fromlist=['VERSION']).VERSION
        """,
    "from builtins import __import__": """
        from builtins import __import__ as load
        seen = load('metta.agent.x', fromlist=['VERSION']).VERSION
        """,
    "find_spec": """
        import importlib.util
        spec = importlib.util.find_spec('metta.agent.x')
        seen = 'old' if 'agent/src' in spec.origin else 'bad'
        """,
    "find_spec as": """
        from importlib import util as u
        spec = u.find_spec('.x', 'metta.agent')
        seen = 'old' if 'agent/src' in spec.origin else 'bad'
        """,
    "from importlib.util import find_spec": """
        from importlib.util import find_spec
        seen = 'old' if find_spec('metta.extra') is None and find_spec('metta.agent') else 'bad'
        """,
    "reload": """
        import importlib, metta.agent.star
        module = importlib.import_module('metta.agent.star')
        module.S1 = 'changed'
        again = importlib.reload(module)
        seen = again.S1 if again is module is metta.agent.star else 'bad'
        """,
    "sys.modules[...]": "import sys, metta.agent.x\nseen = sys.modules['metta.agent.x'].VERSION",
    "sys.modules as": "import sys as s, metta.agent.x\nseen = s.modules['metta.agent.x'].VERSION",
    "from sys import modules": """
        from sys import modules
        import metta.agent.x
        seen = modules['metta.agent.x'].VERSION
        """,
    "sys.modules.get": """
        import sys, metta.agent.x
        seen = sys.modules.get('metta.agent.x', None).VERSION
        """,
    "in sys.modules": """
        import sys, metta.agent.x
        both = 'metta.agent.x' in sys.modules, 'metta.extra' in sys.modules
        seen = 'old' if both == (True, False) else 'bad'
        """,
    "sys.modules[__name__]": """
        import sys
        seen = 'old' if sys.modules[__name__].__dict__ is globals() else 'bad'
        """,
    "sys.modules[cls.__module__]": """
        import sys, metta.agent.x
        seen = sys.modules[metta.agent.x.K.__module__].VERSION
        """,
    "sys.modules stub": """
        import sys, types
        stub = types.ModuleType('metta.stub')
        stub.VERSION = 'old'
        sys.modules['metta.stub'] = stub
        from metta.stub import VERSION as seen
        del sys.modules['metta.stub']
        """,
    "iteration over sys.modules": """
        import sys, metta.agent.x
        names = [n for n, m in sys.modules.items() if getattr(m, 'VERSION', None) == 'old']
        seen = 'old' if 'metta.agent.x' in names and 'json' in list(sys.modules) else 'bad'
        """,
    "iter_modules": """
        import pkgutil, metta.agent
        names = {m.name: m.ispkg for m in pkgutil.iter_modules(metta.agent.__path__)}
        seen = 'old' if names['mocks'] and not names['x'] and 'deep' not in names else 'bad'
        """,
    "iter_modules and its finder": """
        import importlib.util, pkgutil, metta.agent
        for info in pkgutil.iter_modules(metta.agent.__path__):
            if info.name == 'plugin':
                spec = info.module_finder.find_spec(info.name)
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
                seen = module.VERSION
        """,
    "walk_packages and import_module": """
        import importlib, pkgutil, metta.agent
        names = [m.name for m in pkgutil.walk_packages(metta.agent.__path__, 'metta.agent.')]
        seen = importlib.import_module('metta.agent.mocks.mock').Mock.VERSION
        assert 'metta.agent.mocks.mock' in names, names
        """,
    "walk_packages by __name__": """
        import importlib, pkgutil, metta.agent
        start = metta.agent.__name__ + '.'
        names = [m.name for m in pkgutil.walk_packages(metta.agent.__path__, start)]
        seen = importlib.import_module(start + 'mocks.mock').Mock.VERSION
        assert start + 'mocks.mock' in names, names
        """,
    "resources.files": """
        import importlib.resources
        seen = importlib.resources.files('metta.agent.data').joinpath('config.yaml').read_text()
        """,
    "resources.files of a namespace": """
        from importlib import resources
        seen = (resources.files('metta') / 'agent' / 'data' / 'config.yaml').read_text()
        """,
    "resources.files of a module": """
        from importlib.resources import files
        import metta.agent.data
        seen = (files(metta.agent.data) / 'config.yaml').read_text()
        """,
    "resources.files of __package__": """
        from importlib import resources
        seen = (resources.files(__package__) / 'data/config.yaml').read_text()
        """,
    "resources.as_file": """
        from importlib import resources
        with resources.as_file(resources.files('metta.agent.data') / 'config.yaml') as path:
            seen = path.read_text()
        """,
    "pkgutil.get_data": """
        import pkgutil
        seen = pkgutil.get_data('metta.agent.data', 'config.yaml').decode()
        """,
    "pkgutil.resolve_name": """
        import pkgutil
        names = 'metta.agent.x:VERSION', 'metta.agent.x.VERSION'
        seen, = set(map(pkgutil.resolve_name, names))
        """,
    "pkgutil.find_loader": """
        import pkgutil, warnings, metta.agent.x
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # deprecated since 3.12
            loaders = pkgutil.find_loader('metta.agent.x'), pkgutil.get_loader('metta.agent.x')
            assert pkgutil.find_loader('metta.extra') is None
        seen = 'old' if loaders == (metta.agent.x.__loader__,) * 2 else 'bad'
        """,
    "pydoc.locate": """
        import pydoc
        seen = pydoc.locate('metta.agent.x.VERSION')
        assert pydoc.locate('metta.agent.nowhere') is None
        assert pydoc.locate('metta.agent.mocks.Mock').VERSION == 'old'
        """,
    "runpy.run_module": """
        import runpy
        seen = runpy.run_module('metta.agent.plugin')['VERSION']
        """,
    "unittest.mock.patch": """
        from unittest import mock
        import metta.agent.x
        with mock.patch('metta.agent.x.VERSION', 'old, patched'):
            seen = metta.agent.x.VERSION.partition(',')[0]
        """,
    "logging.config": """
        import logging.config
        seen = logging.config.BaseConfigurator({}).resolve('metta.agent.x.VERSION')
        """,
    "logging.config, class of a formatter": """
        import logging.config
        seen = logging.config._resolve('metta.agent.x.K').VERSION
        """,
    "LazyLoader": """
        import importlib.util, sys
        spec = importlib.util.find_spec('metta.agent.star')
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = importlib.util.module_from_spec(spec)
        sys.modules['metta.agent.star'] = module
        spec.loader.exec_module(module)
        from metta.agent import star
        seen = module.S1 if star is module else 'bad'
        """,
    "spec_from_loader": """
        import importlib.util, metta.agent.x
        spec = importlib.util.spec_from_loader('metta.agent.x', metta.agent.x.__loader__)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        seen = module.VERSION if module is not metta.agent.x else 'bad'
        """,
    "spec_from_file_location": """
        import importlib.util, os, sys
        path = os.path.join(os.path.dirname(__file__), 'plugin.py')
        spec = importlib.util.spec_from_file_location('my_plugin', path)
        module = importlib.util.module_from_spec(spec)
        sys.modules['my_plugin'] = module
        spec.loader.exec_module(module)
        seen = module.VERSION if sys.modules['my_plugin'] is module else 'bad'
        """,
    "spec_from_file_location by a path of its own spelling": """
        import importlib.util, os
        path = os.path.join(os.path.dirname(__file__), '..', 'agent', 'plugin.py')
        spec = importlib.util.spec_from_file_location('my_plugin', path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        seen = module.VERSION if module.load().VERSION == 'old' else 'bad'
        """,
    "imp.load_source": """
        import os, sys, warnings
        if sys.version_info < (3, 12):
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                import imp
            module = imp.load_source('tool', os.path.join(os.path.dirname(__file__), 'plugin.py'))
            seen = module.VERSION if module.load().VERSION == 'old' else 'bad'
            assert sys.modules['tool'] is module
        else:
            seen = 'old'
        """,
    "SourceFileLoader": """
        import importlib.util, os
        from importlib.machinery import SourceFileLoader
        path = os.path.join(os.path.dirname(__file__), 'plugin.py')
        loader = SourceFileLoader('tool', path)
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader('tool', loader))
        loader.exec_module(module)
        seen = module.VERSION if module.load().VERSION == 'old' else 'bad'
        """,
    "runpy.run_path": """
        import os, runpy
        space = runpy.run_path(os.path.join(os.path.dirname(__file__), 'plugin.py'))
        seen = space['VERSION'] if space['load']().VERSION == 'old' else 'bad'
        """,
    "exec": "exec('from metta.agent.x import VERSION as seen')",
    "exec with a dict": """
        space = {}
        exec('import metta.agent.x as m; seen = m.VERSION', space)
        seen = space['seen']
        """,
    "exec in a function": """
        def f():
            space = {}
            exec('from metta.agent.x import VERSION', globals(), space)
            return space['VERSION']
        seen = f()
        """,
    "exec of bytes": "exec(b'from metta.agent.x import VERSION as seen')",
    "eval": """seen = eval("  __import__('metta.agent.x', fromlist=['V']).VERSION")""",
    "eval of sys.modules": """
        import sys, metta.agent.x
        seen = eval("__import__('sys').modules is not None and metta.agent.x.VERSION")
        """,
    "compile": """
        code = compile('from metta.agent.x import VERSION as seen', '<made>', 'exec')
        exec(code)
        """,
    "compile of a tree": """
        import ast
        exec(compile(ast.parse('from metta.agent.x import VERSION as seen'), '<made>', 'exec'))
        """,
    "builtins.exec": """
        import builtins
        builtins.exec('from metta.agent.x import VERSION as seen')
        """,
    "from builtins import exec": """
        from builtins import exec
        exec('from metta.agent.x import VERSION as seen')
        """,
    "from builtins import eval as": """
        from builtins import eval as run
        seen = run("__import__('metta.agent.x', fromlist=['V']).VERSION")
        """,
    "compile to a tree": """
        import ast
        tree = compile('from metta.agent.x import VERSION as seen', 'a', 'exec', ast.PyCF_ONLY_AST)
        assert ast.unparse(tree) == 'from metta.agent.x import VERSION as seen'
        exec(compile(tree, 'a', 'exec'))
        """,
    "exec of arguments": """
        arguments = ('from metta.agent.x import VERSION as seen', globals())
        exec(*arguments)
        """,
    "exec of arguments in a function": """
        def f(name, *arguments):
            exec(*arguments)
            return locals()[name]
        seen = f('VERSION', 'from metta.agent.x import VERSION')
        """,
    "eval as a value": """
        texts = ["__import__('metta.agent.x', fromlist=['V']).VERSION"]
        seen = next(map(eval, texts))
        """,
    "eval as a value in a function": """
        import functools
        def f(given):
            return functools.partial(eval, locals={'import_': __import__})(
                "import_('metta.agent.x', fromlist=['V']).VERSION + given", {'given': given})
        seen = f('') if __import__('sys').version_info >= (3, 13) else 'old'
        """,
    "exec with a closure": """
        import types
        def f():
            import metta.agent.x as x
            return lambda: exec(g.__code__, closure=g.__closure__)
        def outer():
            seen = []
            def g():
                from metta.agent.x import VERSION
                seen.append(VERSION)
            run, = [exec]
            run(g.__code__, globals(), closure=g.__closure__)
            return seen[0]
        seen = outer()
        """,
    "getattr of sys": """
        import sys, metta.agent.x
        seen = getattr(sys, 'modules')['metta.agent.x'].VERSION
        """,
    "getattr of pickle with a default": """
        import pickle
        seen = getattr(pickle, 'loads', None)(b'cmetta.agent.x\\nVERSION\\n.')
        """,
    "getattr of getattr": """
        import importlib
        import importlib.util
        seen = getattr(getattr(importlib, 'util'), 'find_spec')('metta.agent.x').loader.get_source(
            'metta.agent.x')
        seen = 'old' if 'old' in seen else seen
        """,
    "sys that an executed text has from its namespace": """
        import sys, pickle, metta.agent.x
        exec("seen = sys.modules['metta.agent.x'].VERSION")
        space = {'pickle': pickle, 'data': b'cmetta.agent.x\\nVERSION\\n.'}
        seen = seen if eval("pickle.loads(data)", space) == 'old' else 'bad'
        """,
    "exec inside exec": """exec("exec('from metta.agent.x import VERSION as seen')")""",
    "pickle.loads": """
        import pickle
        seen = pickle.loads(b'cmetta.agent.mocks.mock\\nMock\\n.').VERSION
        """,
    "from pickle import loads": """
        from pickle import dumps, loads
        seen = loads(b'cmetta.agent.x\\nK\\n.').VERSION
        """,
    "pickle.load": """
        import io, pickle as p
        seen = p.load(io.BytesIO(b'cmetta.agent.x\\nK\\n.')).VERSION
        """,
    "pickle.Unpickler": """
        import io, pickle
        class Mine(pickle.Unpickler):
            def find_class(self, module, name): return super().find_class(module, name)
        seen = Mine(io.BytesIO(b'cmetta.agent.x\\nK\\n.')).load().VERSION
        """,
    "pickle that an own module hands on": """
        from metta.agent.handing import pickle
        loads = pickle.loads
        seen = loads(b'cmetta.agent.x\\nK\\n.').VERSION
        """,
    "sys that an own module hands on": """
        from .handing import sys as system
        import metta.agent.x
        seen = system.modules['metta.agent.x'].VERSION
        """,
    "_pickle as": """
        import _pickle as cPickle
        seen = cPickle.loads(b'cmetta.agent.x\\nK\\n.').VERSION
        """,
    "pickle._Unpickler": """
        import io, pickle
        seen = pickle._Unpickler(io.BytesIO(b'cmetta.agent.x\\nK\\n.')).load().VERSION
        """,
    "in a thread": """
        import importlib, threading
        found = []
        def f(): found.append(importlib.import_module('metta.agent.x').VERSION)
        thread = threading.Thread(target=f)
        thread.start()
        thread.join()
        seen, = found
        """,
    "on import of a shared helper": """
        from metta.compat.load import load
        seen = load('metta.agent.x').VERSION
        """,
}
HELPER = "import importlib\ndef load(name): return importlib.import_module(name)\n"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("twin")
def test_strings_each_form_names_old_code(form: str, old: RunCase, host: Any) -> None:
    top = next(p for p in sys.path if "tree0" in p)
    with open(f"{top}/metta/compat/load.py", "w") as file:
        file.write(HELPER)
    importlib.invalidate_caches()
    assert old(FORMS[form]).seen == "old"


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"on import of a shared helper"}))
def test_strings_each_form_names_old_code_without_a_twin(form: str, put: Put) -> None:
    mount = put({**OLD, CASE: FORMS[form]}, roots=ROOTS, shared=SHARED)
    assert importlib.import_module(f"{mount.name}.metta.agent.case").seen == "old"


# -- the host is left alone -----------------------------------------------------------------------


def _host_forms() -> dict[str, Callable[[], object]]:
    def unpickler() -> object:
        return pickle.loads(b"cmetta.agent.x\nK\n.").VERSION

    def python_unpickler() -> object:
        import io

        unpickler: Any = pickle._Unpickler
        return unpickler(io.BytesIO(b"cmetta.agent.x\nK\n.")).load().VERSION

    def located() -> object:
        import pydoc

        return pydoc.locate("metta.agent.x.VERSION")

    return {
        "import_module": lambda: importlib.import_module("metta.agent.x").VERSION,
        "relative": lambda: importlib.import_module(".x", "metta.agent").VERSION,
        "__import__": lambda: __import__("metta.agent.x").agent.x.VERSION,
        "resolve_name": lambda: pkgutil.resolve_name("metta.agent.x:VERSION"),
        "locate": located,
        "exec": lambda: eval("__import__('metta.agent.x').agent.x.VERSION"),
        "pickle": unpickler,
        "python pickle": python_unpickler,
    }


@pytest.mark.parametrize("form", _host_forms())
def test_strings_the_host_gets_its_own(form: str, twin: str, old: RunCase) -> None:
    old("import metta.agent.x, pydoc, pickle")
    assert _host_forms()[form]() == "new"


@pytest.mark.parametrize(
    "module",
    [
        "importlib",
        "importlib.util",
        "pkgutil",
        "sys",
        "pickle",
        "builtins",
        "runpy",
        "importlib.machinery",
    ],
)
def test_strings_public_modules_of_the_host_are_unchanged(module: str, put: Put) -> None:
    found = importlib.import_module(module)
    before = dict(vars(found))
    mount = put({"pkg/a.py": f"import {module}, importlib.util\n"})
    importlib.import_module(f"{mount.name}.pkg.a")
    changed = {n for n, v in vars(found).items() if n not in before or before[n] is not v}
    assert changed <= {"__warningregistry__"}
    assert importlib.util is sys.modules["importlib.util"]


def test_strings_patched_functions_look_as_before(put: Put) -> None:
    put({"pkg/a.py": ""})
    import pydoc

    unpickler: Any = pickle._Unpickler
    assert unpickler.find_class.__name__ == "find_class"
    assert list(inspect.signature(unpickler.find_class).parameters) == ["self", "module", "name"]
    assert pydoc.locate("json.dumps") is not None
    assert pydoc.__loader__ is not None
    assert "exec_module" not in vars(pydoc.__loader__)


def test_strings_stand_ins_look_as_the_real_ones(put: Put) -> None:
    mount = put(
        {
            "pkg/a.py": """
            import importlib.util, pkgutil, pickle
            found = {f.__name__: f for f in (
                importlib.util.find_spec, importlib.util.spec_from_file_location,
                pkgutil.get_data, pkgutil.walk_packages, pkgutil.extend_path, __import__, compile)}
            Unpickler = pickle.Unpickler
            """
        }
    )
    case = importlib.import_module(f"{mount.name}.pkg.a")
    for real in (importlib.util.find_spec, pkgutil.get_data, pkgutil.walk_packages):
        fake = case.found[real.__name__]
        assert inspect.signature(fake) == inspect.signature(real)
        assert fake.__doc__ == real.__doc__
    assert issubclass(case.Unpickler, pickle.Unpickler)
    assert case.Unpickler.__name__ == "Unpickler"


def test_strings_the_modules_view_is_the_real_one_elsewhere(put: Put) -> None:
    mount = put(
        {
            "pkg/a.py": """
            import sys
            modules = sys.modules
            def missing():
                try: sys.modules['pkg.nowhere']
                except KeyError as error: return error.args
            def drop():
                try: del sys.modules['pkg.nowhere']
                except KeyError as error: return error.args
            """
        }
    )
    case = importlib.import_module(f"{mount.name}.pkg.a")
    assert case.missing() == case.drop() == ("pkg.nowhere",)
    assert case.modules["json"] is sys.modules.get("json", importlib.import_module("json"))
    assert len(case.modules) == len(list(case.modules)) == len(set(case.modules))
    assert case.modules.copy()["pkg.a"] is case
    assert not [name for name in case.modules if name.startswith(mount.name)]
    case.modules["tool"] = case
    assert sys.modules.pop("tool") is case


# -- loud rather than wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "folder",
    [
        "os.path.join(os.path.dirname(__file__), 'tools')",
        "os.path.dirname(__file__) + '/../pkg/tools'",
        "pathlib.Path(__file__).resolve().parent / '../pkg/tools'",
    ],
)
def test_own_or_fail_a_folder_of_the_tree_on_sys_path_is_refused(folder: str, put: Put) -> None:
    mount = put(
        {
            "src/pkg/a.py": f"""
                import os, pathlib, sys
                sys.path.insert(0, str({folder}))
                def f():
                    import helper
                """,
            "src/pkg/tools/helper.py": "1/0",
        },
        roots=["src"],
    )
    case = importlib.import_module(f"{mount.name}.pkg.a")
    with pytest.raises(ImportError, match=r"add 'src/pkg/tools' to its roots"):
        case.f()
    with pytest.raises(ModuleNotFoundError, match="No module named 'helper'"):
        importlib.import_module("helper")


def test_strings_a_text_that_does_not_compile_raises_as_before(put: Put) -> None:
    mount = put(
        {
            "pkg/a.py": """
            def f(text):
                exec(text)
            def g(text):
                return eval(text)
            def h(text):
                return compile(text, 'made', 'exec')
            """
        }
    )
    case = importlib.import_module(f"{mount.name}.pkg.a")
    for function in (case.f, case.g, case.h):
        with pytest.raises(SyntaxError):
            function("import import")
        with pytest.raises(TypeError):
            function(3)
    assert case.g("1 + 1") == 2
    assert case.g(compile("1 + 2", "x", "eval")) == 3


def test_strings_futures_and_locals_reach_the_text(put: Put) -> None:
    mount = put(
        {
            "pkg/a.py": """
            from __future__ import annotations
            def f(y):
                space = {}
                exec('import sys\\ndef g(x: Nowhere): return x', globals(), space)
                exec(compile('import sys\\ndef h(x: Nowhere): return x', 'made', 'exec'), space)
                return space['g'](y) + space['h'](y) + eval('y if __import__ else 0')
            """
        }
    )
    assert importlib.import_module(f"{mount.name}.pkg.a").f(1) == 3


def test_strings_names_that_the_module_binds_itself_are_its_own(put: Put) -> None:
    mount = put(
        {
            "pkg/a.py": """
            from re import compile
            def eval(text): return 'mine: ' + text
            def f(sys): return sys.modules
            class modules: modules = 'mine'
            def g(getattr, value): return getattr(value, 'modules')
            def h():
                class sys: modules = 'not sys'
                return builtins.eval("sys.modules", {'sys': sys}), builtins.eval("modules.modules")
            import builtins, sys
            seen = eval('import x'), compile('import').pattern, f(modules)
            mine = g(lambda a, b: (a is sys, b), sys), h(), g(getattr, modules), [eval][0]('x')
            """
        }
    )
    case = importlib.import_module(f"{mount.name}.pkg.a")
    assert case.seen == ("mine: import x", "import", "mine")
    assert case.mine == ((True, "modules"), ("not sys", "mine"), "mine", "mine: x")


def test_strings_a_tree_that_is_compiled_stays_the_callers(put: Put) -> None:
    mount = put(
        {
            "pkg/a.py": """
            import ast
            tree = ast.parse('import pkg.b')
            before = ast.dump(tree)
            exec(compile(tree, 'made', 'exec'))
            same = ast.dump(tree) == before
            b = pkg.b
            """,
            "pkg/b.py": "",
        }
    )
    case = importlib.import_module(f"{mount.name}.pkg.a")
    assert case.same
    assert case.b.__name__ == f"{NAME}.pkg.b"


def test_strings_more_names_can_be_given_stand_ins(
    put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = put({"pkg/a.py": ""}, name=OTHER)
    monkeypatch.setattr("codevault_importhook.stand_ins.table", dict(stand_ins.table))
    hook.stand_in("json.decoder.JSONDecoder", lambda mount: f"for {mount.name}")
    mount = put(
        {
            "pkg/a.py": """
            import json
            import json.decoder as d
            from json import decoder
            from json.decoder import JSONDecoder as J
            def f():
                from json.decoder import JSONDecoder
                return JSONDecoder
            seen = {json.decoder.JSONDecoder, d.JSONDecoder, decoder.JSONDecoder, J, f()}
            other = json.JSONDecoder
            """
        }
    )
    case = importlib.import_module(f"{NAME}.pkg.a")
    assert case.seen == {f"for {NAME}"}
    assert case.other is json.JSONDecoder
    assert mount.tag != plain.tag


def test_own_or_fail_a_name_that_is_no_utf_8(old: RunCase) -> None:
    strange = {os.fsdecode(b"agent/src/metta/agent/m\xf6d.py"): "x = 1\n"}
    text = r"""
        import importlib, importlib.util, os, pkgutil
        import metta.agent
        NAME = "metta.agent.m\udcf6d"
        def ask(name=NAME):
            return importlib.import_module(name)
        def by_path():
            path = os.path.join(os.path.dirname(__file__), "m\udcf6d.py")
            spec = importlib.util.spec_from_file_location("strange", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module.x
        listed = [m.name for m in pkgutil.iter_modules(metta.agent.__path__)]
    """
    case = old(text, strange)
    assert importlib.util.find_spec(f"{case.__name__.rpartition('.')[0]}.m\udcf6d") is None
    with pytest.raises(ModuleNotFoundError, match="no UTF-8 are loaded by their paths") as caught:
        case.ask()
    str(caught.value).encode()
    assert case.by_path() == 1
    assert all(name.isascii() for name in case.listed)
