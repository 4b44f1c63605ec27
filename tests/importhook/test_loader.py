"""Modules of a snapshot look to tools as modules from files do."""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.util
import inspect
import io
import linecache
import logging
import os
import pdb
import pickle
import sys
import traceback
import typing
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from codevault_importhook import CodePack
from tests.importhook.pictures import NAME, beside_twins

if TYPE_CHECKING:
    from tests.importhook.conftest import Put

pytestmark = beside_twins

MODELS = """
    from __future__ import annotations
    import abc, dataclasses, enum, functools, inspect, os, sys, typing
    import pkg.other
    from pkg.other import K

    @dataclasses.dataclass
    class D:
        a: int = 1
        b: typing.Optional[D] = None
        c: typing.ClassVar[int] = 3
        d: dataclasses.InitVar[K] = None
        k: K = dataclasses.field(default_factory=K)

    @dataclasses.dataclass(frozen=True, slots=True)
    class Slots:
        a: int = 1

    class E(enum.Enum):
        A = 1

    class N(typing.NamedTuple):
        a: int

    class Outer:
        class Inner:
            pass

    class Meta(type):
        seen = []
        def __init_subclass__(cls): pass
        def __new__(meta, name, bases, space):
            made = super().__new__(meta, name, bases, space)
            Meta.seen.append((made.__module__, name))
            return made

    class WithMeta(metaclass=Meta): pass

    @functools.singledispatch
    def kind(value): return 'object'
    @kind.register
    def _(value: D): return 'D'

    def boom(depth):
        if depth:
            return boom(depth - 1)
        raise ValueError('boom')  # here

    def source_of(function):
        function.source = inspect.getsource(function)
        return function

    @source_of
    def kernel(x):
        # a comment that stays
        return x + 1

    lam = lambda: 3
    here = sys.modules[__name__]
    with open(os.path.join(os.path.dirname(__file__), 'data.txt')) as file:
        data = file.read()
    """
BOOM = MODELS.split("\n").index("        raise ValueError('boom')  # here")
"""The line on which it is raised; the picture has no first, empty line."""
PICTURE: dict[str, str | bytes] = {
    "src/pkg/__init__.py": "",
    "src/pkg/other.py": "class K:\n    def __eq__(self, other): return type(self) is type(other)\n",
    "src/pkg/models.py": MODELS,
    "src/pkg/data.txt": "text",
}


@pytest.fixture(params=["compiled-now", "from-pack"])
def models(request: pytest.FixtureRequest, put: Put) -> Any:
    mount = put(PICTURE, roots=["src"])
    if request.param == "from-pack":
        mount.use(CodePack(mount.compile(), mount.tag))
    return importlib.import_module(f"{NAME}.pkg.models")


def test_spec_and_attributes(models: Any) -> None:
    assert models.__name__ == models.__spec__.name == f"{NAME}.pkg.models"
    assert models.__package__ == models.__spec__.parent == f"{NAME}.pkg"
    assert models.__file__ == models.__spec__.origin
    assert models.__file__.endswith("src/pkg/models.py")
    assert models.__spec__.has_location
    assert models.__loader__ is models.__spec__.loader
    assert repr(models) == f"<module '{NAME}.pkg.models' from {models.__file__!r}>"
    assert importlib.import_module(models.__name__) is models
    assert models.here is models
    assert importlib.util.find_spec(models.__name__) is models.__spec__
    package = sys.modules[f"{NAME}.pkg"]
    assert package.__path__ == [models.__file__.rpartition("/")[0]]
    assert package.models is models
    splint: Any = sys.modules[NAME]
    assert splint.__path__ == [models.__file__.removesuffix("/pkg/models.py")]
    assert splint.pkg is package
    assert getattr(splint, "__file__", None) is None


def test_source_as_inspect_sees_it(models: Any) -> None:
    assert "# a comment that stays" in inspect.getsource(models.kernel)
    assert models.kernel.source == inspect.getsource(models.kernel)
    assert inspect.getsource(models.D).startswith("@dataclasses.dataclass\nclass D:")
    assert inspect.getsource(models).startswith("from __future__")
    assert [inspect.getmodule(part) for part in (models.kernel, models.D)] == [models] * 2
    assert inspect.getfile(models.D) == models.__file__
    assert inspect.getsourcefile(models.lam) == models.__file__
    assert inspect.getsourcelines(models.lam)[0] == ["lam = lambda: 3\n"]


def test_source_that_is_not_on_disk_comes_from_the_loader(put: Put) -> None:
    mount = put(PICTURE, roots=["src"])
    models: Any = importlib.import_module(f"{NAME}.pkg.models")
    os.remove(models.__file__)
    linecache.clearcache()
    assert "# a comment that stays" in inspect.getsource(models.kernel)
    assert mount.loader.get_source(models.__name__) == inspect.getsource(models)
    with pytest.raises(ValueError, match="boom") as caught:
        models.boom(0)
    linecache.clearcache()
    shown = "".join(traceback.format_exception(caught.value))
    assert f'File "{models.__file__}", line {BOOM}, in boom\n    raise ValueError' in shown
    linecache.clearcache()
    assert "# a comment that stays" in debugged(["step", "list"], models.kernel, 1)


def test_tracebacks_show_file_line_and_text(models: Any) -> None:
    with pytest.raises(ValueError, match="boom") as caught:
        models.boom(2)
    frames = traceback.extract_tb(caught.value.__traceback__)[-2:]
    assert [f.filename for f in frames] == [models.__file__] * 2
    assert frames[-1].line == "raise ValueError('boom')  # here"
    assert frames[-1].name == "boom"


def debugged(commands: list[str], function: Any, *args: Any) -> str:
    """What pdb shows when it runs a function."""
    shown = io.StringIO()
    script = io.StringIO("\n".join([*commands, "continue", ""]))
    debugger = pdb.Pdb(stdin=script, stdout=shown, nosigint=True, readrc=False)
    debugger.use_rawinput = False
    before = sys.gettrace()
    try:
        with contextlib.suppress(ValueError):
            debugger.runcall(function, *args)
    finally:
        debugger.clear_all_breaks()
        sys.settrace(before)
    return shown.getvalue()


def test_pdb_stops_at_file_and_line_and_lists_the_text(models: Any) -> None:
    commands = [f"break {models.__file__}:{BOOM}", "continue", "where", "list", "p depth"]
    shown = debugged(commands, models.boom, 2)
    assert f" at {models.__file__}:{BOOM}\n" in shown
    assert f"> {models.__file__}({BOOM})boom()" in shown
    assert shown.count(f"  {models.__file__}({BOOM - 1})boom()") == 2
    assert f"{BOOM} B->\t    raise ValueError('boom')  # here" in shown
    assert shown.endswith("(Pdb) 0\n(Pdb) ")


def test_warnings_name_file_and_line_of_who_warns_and_of_who_is_warned(put: Put) -> None:
    put(
        {
            "pkg/__init__.py": "",
            "pkg/a.py": "import pkg.b\ndef f():\n    pkg.b.old()\n    pkg.b.here()\n",
            "pkg/b.py": """
                import warnings
                def old(): warnings.warn('old', DeprecationWarning, stacklevel=2)
                def here(): warnings.warn('here')
                """,
        }
    )
    a: Any = importlib.import_module(f"{NAME}.pkg.a")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        a.f()
    b = a.pkg.b
    assert [(w.filename, w.lineno) for w in seen] == [(a.__file__, 3), (b.__file__, 3)]
    assert "pkg.b.old()" in warnings.formatwarning("", UserWarning, seen[0].filename, 3)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", module=r"pkg\.")  # by design: see docs/limits.md
        warnings.filterwarnings("ignore", module=rf"{NAME}\.pkg\.b")
        a.f()
    assert [str(w.message) for w in seen] == ["old"]


def test_log_records_name_file_line_and_function(
    put: Put, caplog: pytest.LogCaptureFixture
) -> None:
    text = "import logging\nlog = logging.getLogger(__name__)\ndef f():\n    log.warning('seen')\n"
    put({"pkg/__init__.py": "", "pkg/a.py": text})
    module: Any = importlib.import_module(f"{NAME}.pkg.a")
    logging.getLogger("pkg").setLevel(logging.CRITICAL)  # by design it does not hold there
    try:
        module.f()
    finally:
        logging.getLogger("pkg").setLevel(logging.NOTSET)
    (record,) = caplog.records
    assert (record.pathname, record.lineno, record.funcName) == (module.__file__, 4, "f")
    assert (record.name, record.module) == (f"{NAME}.pkg.a", "a")


def test_tracebacks_of_imports_show_the_statement(put: Put) -> None:
    put({"pkg/a.py": "import pkg.b\n", "pkg/b.py": "x = 1\n\nraise ValueError('b')\n"})
    with pytest.raises(ValueError, match="b") as caught:
        importlib.import_module(f"{NAME}.pkg.a")
    frames = traceback.extract_tb(caught.value.__traceback__)
    lines = [(f.filename.rpartition("/")[2], f.lineno) for f in frames]
    assert ("a.py", 1) in lines
    assert lines[-1] == ("b.py", 3)


def test_dataclasses_enums_and_hints_resolve_in_the_module(models: Any) -> None:
    instance = models.D(b=models.D())
    assert instance.b == models.D()
    assert typing.get_type_hints(models.D)["k"].__module__ == f"{NAME}.pkg.other"
    assert typing.get_type_hints(models.D)["b"] == typing.Optional[models.D]  # noqa: UP045
    assert models.kind(instance) == "D"
    assert models.Meta.seen == [(models.__name__, "WithMeta")]


@pytest.mark.parametrize("make", ["D()", "E.A", "N(1)", "Outer.Inner", "K()", "Slots()", "kernel"])
def test_pickles_inside_the_process(make: str, models: Any) -> None:
    value = eval(make, vars(models))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        if make == "Slots()" and protocol < 2:
            continue
        again = pickle.loads(pickle.dumps(value, protocol))
        assert type(again) is type(value)
        assert again == value
    assert copy.deepcopy(value) == value


def test_pydantic_models_with_forward_references(put: Put) -> None:
    pytest.importorskip("pydantic")
    put(
        {
            "pkg/a.py": """
            from __future__ import annotations
            from typing import Optional
            from pydantic import BaseModel, ImportString
            class Node(BaseModel):
                value: int = 0
                child: Optional[Node] = None
                late: Optional[Late] = None
                kind: Optional[ImportString] = None
            class Late(BaseModel):
                z: int = 5
            made = Node(child=Node(late=Late()), kind='pkg.b.K')
            """,
            "pkg/b.py": "class K: v = 'old'",
        }
    )
    module = importlib.import_module(f"{NAME}.pkg.a")
    assert module.made.child.late.z == 5
    assert module.made.kind.v == "old"
    assert pickle.loads(pickle.dumps(module.Node(value=2))) == module.Node(value=2)


def test_cloudpickle_by_reference_and_by_value(models: Any) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    assert pickle.loads(cloudpickle.dumps(models.D)) is models.D
    cloudpickle.register_pickle_by_value(models)
    try:
        copied = pickle.loads(cloudpickle.dumps(models.boom))
    finally:
        cloudpickle.unregister_pickle_by_value(models)
    assert copied is not models.boom
    with pytest.raises(ValueError, match="boom"):
        copied(1)


def test_once_reload_keeps_the_module_and_runs_it_again(models: Any) -> None:
    before = models.D
    models.added = 1
    assert importlib.reload(models) is models
    assert models.D is not before
    assert models.added == 1
    assert importlib.reload(sys.modules[f"{NAME}.pkg"]).models is models


def test_loader_answers(models: Any) -> None:
    loader = models.__loader__
    assert loader.get_filename(models.__name__) == models.__file__
    assert not loader.is_package(models.__name__)
    assert loader.is_package(f"{NAME}.pkg")
    assert loader.is_package(NAME)
    assert loader.get_code(NAME) is None
    assert loader.get_source(NAME) is None
    assert loader.get_code(models.__name__).co_filename == models.__file__
    assert loader.get_data(models.__file__) == _disk_bytes(models)
    assert loader.get_resource_reader(models.__name__) is None
    with pytest.raises(ImportError):
        loader.get_filename(NAME)
    for name in ("json", f"{NAME}.pkg.nowhere"):
        with pytest.raises(ImportError):
            loader.get_code(name)
    for path in ("/etc/hostname", models.__file__ + "x", models.__file__ + "/../../../../x"):
        with pytest.raises(OSError, match="is not in"):
            loader.get_data(path)


def _disk_bytes(models: Any) -> bytes:
    with open(models.__file__, "rb") as file:
        return file.read()


def test_files_with_marks_and_cookies(put: Put) -> None:
    put(
        {
            "pkg/bom.py": b"\xef\xbb\xbfseen = '\xc3\xa9'\n",
            "pkg/latin.py": b"# -*- coding: latin-1 -*-\nseen = '\xe9'\n",
            "pkg/crlf.py": b"seen = '\xc3\xa9'\r\nimport pkg.bom\r\n",
        }
    )
    for name in ("bom", "latin", "crlf"):
        module = importlib.import_module(f"{NAME}.pkg.{name}")
        assert module.seen == "é"
        assert "é" in inspect.getsource(module)


def test_a_syntax_error_names_the_laid_out_file(put: Put) -> None:
    mount = put({"pkg/bad.py": "x = 1\nimport import\n", "pkg/a.py": "import pkg.bad"})
    with pytest.raises(SyntaxError) as caught:
        importlib.import_module(f"{NAME}.pkg.a")
    assert (caught.value.filename, caught.value.lineno) == (mount.source.location("pkg/bad.py"), 2)


def test_file_contents_are_the_verified_ones_and_not_the_disks(put: Put) -> None:
    mount = put({"pkg/a.py": "v = 'verified'"})
    with open(mount.source.location("pkg/a.py"), "w") as file:
        file.write("v = 'planted'")
    assert importlib.import_module(f"{NAME}.pkg.a").v == "verified"


def test_extension_modules_are_loaded_from_their_place(put: Put) -> None:
    import _struct

    path = getattr(_struct, "__file__", None)
    if path is None:
        pytest.skip("this interpreter has no extension module on disk")
    with open(path, "rb") as file:
        content = file.read()
    suffix = path[path.index(".", path.rindex("/")) :]
    put({f"pkg/_struct{suffix}": content, "pkg/a.py": "from pkg import _struct\nv = _struct.pack"})
    module = importlib.import_module(f"{NAME}.pkg.a")
    assert module.v("<i", 1) == b"\x01\0\0\0"
    assert sys.modules[f"{NAME}.pkg._struct"] is not _struct


def test_names_carry_the_prefix_by_design(models: Any) -> None:
    """Trap 50: documented behaviour, seen in loggers, registries and `__module__` tests."""
    assert not models.D.__module__.startswith("pkg")
    assert models.D.__module__ == f"{NAME}.pkg.models"


def test_old_code_may_read_zip_files_and_other_importers(put: Put, tmp_path: Any) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("helper.py", "v = 'zipped'")
    text = f"import sys\nsys.path.insert(0, {str(tmp_path / 'z.zip')!r})\nimport helper\n"
    put({"pkg/a.py": text})
    assert importlib.import_module(f"{NAME}.pkg.a").helper.v == "zipped"
