from __future__ import annotations

import ast
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codevault_importhook import CodePack
from codevault_importhook.rewrite import Rules, compile_module, rewrite
from codevault_importhook.stand_ins import table
from tests.importhook.pictures import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.importhook.conftest import Put

RULES = Rules(frozenset({"a", "top"}), frozenset(table))


def rewritten(text: str, rules: Rules = RULES) -> str:
    tree = ast.parse(text)
    rewrite(tree, rules, "P")
    return ast.unparse(tree)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("import a", "import P.a as a"),
        ("import a as b", "import P.a as b"),
        ("import a.b.c", "from P.a.b.c import __doc__ as a\nimport P.a as a"),
        ("import a.b.c as d", "import P.a.b.c as d"),
        ("import os, a, json as j", "import os\nimport P.a as a\nimport json as j"),
        ("from a import b as c, d", "from P.a import b as c, d"),
        ("from a.b import *", "from P.a.b import *"),
        ("from . import a", "from . import a"),
        ("from .a import b", "from .a import b"),
        ("import apple.a", "import apple.a"),
        ("from apple import a", "from apple import a"),
        ("from __future__ import annotations", "from __future__ import annotations"),
        ("sys.modules", "sys.modules"),
        ("import sys\nsys.modules", "import sys\nP__splint__.sys_modules"),
        ("import sys\nsys.modules = 1", "import sys\nsys.modules = 1"),
        ("import sys\nsys.path", "import sys\nsys.path"),
        ("import a as sys\nsys.modules", "import P.a as sys\nsys.modules"),
        ("import sys\nx.sys.modules", "import sys\nx.sys.modules"),
        ("from sys import modules as m", "from P.__splint__ import sys_modules as m"),
        (
            "from sys import a, modules",
            "from P.__splint__ import sys_modules as modules\nfrom sys import a",
        ),
        ("f = __import__", "f = P__splint__.builtins___import__"),
        ("exec(x, y)", "exec(P__splint__.builtins_exec(x), y)"),
        ("eval(x)", "eval(P__splint__.builtins_eval(x))"),
        ("eval(eval(x))", "eval(P__splint__.builtins_eval(eval(P__splint__.builtins_eval(x))))"),
        ("exec(__import__)", "exec(P__splint__.builtins_exec(P__splint__.builtins___import__))"),
        (
            "import builtins as b\nb.exec(x)",
            "import builtins as b\nb.exec(P__splint__.builtins_exec(x))",
        ),
        (
            "from builtins import exec\nexec(x)",
            "from builtins import exec\nexec(P__splint__.builtins_exec(x))",
        ),
        (
            "from builtins import exec as eval\neval(x)",
            "from builtins import exec as eval\neval(P__splint__.builtins_exec(x))",
        ),
        (
            "from a import sys\nsys.modules, sys.path",
            "from P.a import sys\n"
            "(P__splint__.object___getattribute__(sys, 'sys.modules'), sys.path)",
        ),
        (
            "from .a import pickle as p\np.loads(x)",
            "from .a import pickle as p\nP__splint__.object___getattribute__(p, 'pickle.loads')(x)",
        ),
        ("from a import pickle\npickle.loads = 1", "from P.a import pickle\npickle.loads = 1"),
        ("model.eval(x)", "model.eval(x)"),
        ("exec(*x)", "P__splint__.object_exec(*x)"),
        ("map(eval, x)", "map(P__splint__.object_eval, x)"),
        ("import sys\ngetattr(sys, 'modules', 1)", "import sys\nP__splint__.sys_modules"),
        ("import sys\ngetattr(sys, x)", "import sys\ngetattr(sys, x)"),
        (
            "from a import sys\ngetattr(sys, 'modules')",
            "from P.a import sys\nP__splint__.object___getattribute__(sys, 'sys.modules')",
        ),
        (
            "import sys\ndef getattr(a, b): ...\ngetattr(sys, 'modules')",
            "import sys\ndef getattr(a, b): ...\ngetattr(sys, 'modules')",
        ),
        (
            "import importlib as i\ndef getattr(a, b): ...\ngetattr(i, 'util').find_spec",
            "import importlib as i\ndef getattr(a, b): ...\ngetattr(i, 'util').find_spec",
        ),
        ("import runpy as r\nr.run_module", "import runpy as r\nP__splint__.runpy_run_module"),
        (
            "from importlib import util as u\nu.find_spec",
            "from importlib import util as u\nP__splint__.importlib_util_find_spec",
        ),
        ("def eval(x): ...\neval(1)", "def eval(x): ...\neval(1)"),
    ],
)
def test_own_or_fail_table_of_rewrites(before: str, after: str) -> None:
    after = after.replace("P__splint__", "__import__('P').__splint__")
    assert rewritten(before) == ast.unparse(ast.parse(after))


# -- bound names ----------------------------------------------------------------------------------

DOTTED = st.sampled_from(["a", "a.b", "a.b.c", "a.d", "top", "os", "os.path", "json.decoder"])
ALIAS = st.sampled_from(["", " as x", " as y", " as __z"])
PLAIN = st.lists(st.builds(str.__add__, DOTTED, ALIAS), min_size=1, max_size=3).map(
    lambda names: "import " + ", ".join(names)
)
FROM = st.builds(
    "from {} import {}".format,
    st.sampled_from(["a", "a.b", "top"]),
    st.sampled_from(["v", "v as x", "v as __z, v as y", "(v,\n    v as x)"]),
)
STATEMENTS = st.lists(PLAIN | FROM, min_size=1, max_size=6)
FRAMES = st.sampled_from(
    [
        "{}",
        "class C:\n    {}",
        "class C:\n    def f(self):\n        {}\n        return locals()\nC().f()",
        "def f():\n    global x, y\n    {}\nf()",
        "if 1:\n    {}",
        "try:\n    {}\nfinally:\n    {}",
        "for i in [1]:\n    {}\nelse:\n    {}",
        "match 1:\n    case 1:\n        {}",
        "async def f():\n    {}\n    return locals()\nf().close()",
    ]
)


def _framed(frame: str, statements: list[str]) -> str:
    lines = frame.split("\n")
    out = []
    for line in lines:
        if "{}" in line:
            indent = line[: line.index("{")]
            out += [indent + part for s in statements for part in s.split("\n")]
        else:
            out.append(line)
    return "\n".join(out)


def _modules(prefix: str) -> Iterator[tuple[str, types.ModuleType]]:
    parents: dict[str, types.ModuleType] = {}
    for name in filter(
        None, [prefix.rstrip("."), *(prefix + n for n in ("a", "a.b", "a.b.c", "a.d", "top"))]
    ):
        module = types.ModuleType(name)
        module.__path__ = []
        vars(module)["v"] = f"v of {name[len(prefix) :]}"
        parents[name] = module
        parent, _, leaf = name.rpartition(".")
        if parent:
            setattr(parents[parent], leaf, module)
        yield name, module


def _namespace(code: types.CodeType) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "case"}
    exec(code, space)
    del space["__builtins__"]
    return {
        name: {
            n: _strip(v)
            for n, v in vars(value).items()
            if n not in ("__dict__", "__weakref__", "f")
        }
        if isinstance(value, type)
        else _strip(value)
        for name, value in space.items()
        if not callable(value) or isinstance(value, type)
    }


def _strip(value: object) -> object:
    name = getattr(value, "__name__", None)
    return name.removeprefix("P.") if isinstance(value, types.ModuleType) and name else value


@settings(max_examples=300, deadline=None)
@given(FRAMES, STATEMENTS)
def test_own_or_fail_binds_the_names_that_plain_import_binds(
    frame: str, statements: list[str]
) -> None:
    text = _framed(frame, statements)
    made = dict([*_modules(""), *_modules("P.")])
    saved = {name: sys.modules.get(name) for name in made}
    try:
        sys.modules.update(made)
        plain = _namespace(compile(text, "case", "exec"))
        ours = _namespace(compile_module(text.encode(), "case", RULES, "P"))
        assert ours == plain
    finally:
        for name, module in saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


# -- everything else stays ------------------------------------------------------------------------


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


TEXT = '''
"""Doc."""
from __future__ import annotations
import a.b.c as d, os
from a import (
    v,
)
import a.b
def untouched(x):
    # a comment
    return [y + x for y in range(3)] + [d]
class C:
    """Doc of C."""
    def method(self, x: "nowhere" = 1): return lambda: x
def touched():
    import a.b; return a.b
'''


def test_own_or_fail_positions_of_untouched_code_stay() -> None:
    plain = {c.co_qualname: c for c in _codes(compile(TEXT, "case", "exec", dont_inherit=True))}
    ours = {c.co_qualname: c for c in _codes(compile_module(TEXT.encode(), "case", RULES, "P"))}
    assert plain.keys() == ours.keys()
    for name, code in plain.items():
        if name not in ("<module>", "touched"):
            assert code == ours[name]
            assert list(code.co_positions()) == list(ours[name].co_positions())
        lines = {line for _, _, line in code.co_lines()}
        assert lines == {line for _, _, line in ours[name].co_lines()}
        assert code.co_firstlineno == ours[name].co_firstlineno


@given(st.sampled_from(["utf-8-sig", "latin-1", "utf-8"]), st.sampled_from(["é", "ß", "plain"]))
def test_own_or_fail_encodings_are_those_the_file_declares(encoding: str, text: str) -> None:
    cookie = "" if encoding == "utf-8-sig" else f"# -*- coding: {encoding} -*-\n"
    source = f"{cookie}import a\nseen = {text!r}\n".encode(encoding)
    constants = compile_module(source, "case", RULES, NAME).co_consts
    assert text in constants


def test_own_or_fail_long_modules_with_many_constants(put: Put) -> None:
    lines = [f"import pkg.b\nv{i} = pkg.b.f({i}.5, 'c{i}')" for i in range(1000)]
    lines.append("def late():\n    import pkg.b as m\n    return m.f(1.5, 'late')")
    mount = put({"pkg/a.py": "\n".join(lines), "pkg/b.py": "def f(x, y): return x, y"})
    mount.use(CodePack(mount.compile(), mount.tag))
    module = sys.modules.get(f"{mount.name}.pkg.a") or __import__(
        f"{mount.name}.pkg.a", fromlist=["late"]
    )
    assert module.v999 == (999.5, "c999")
    assert module.late() == (1.5, "late")


def test_own_or_fail_deep_nesting_compiles_if_plain_does() -> None:
    text = "x = " + "+".join(["1"] * 3000) + "\n"
    for depth in range(90):
        text += " " * depth + "if 1:\n"
    text += " " * 90 + "import a.b\n"
    try:
        compile(text, "case", "exec")
    except (RecursionError, SyntaxError, MemoryError) as error:
        with pytest.raises(type(error)):
            compile_module(text.encode(), "case", RULES, "P")
    else:
        assert "P.a.b" in compile_module(text.encode(), "case", RULES, "P").co_names


def test_own_or_fail_null_bytes_are_refused() -> None:
    with pytest.raises((SyntaxError, ValueError)):
        compile_module(b"x = 1\x00", "case", RULES, "P")
