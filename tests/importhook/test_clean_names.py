"""[clean-names] What old code writes for later carries its original names."""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codevault_importhook.pickles import with_original_names
from tests.importhook.pictures import NAME, OTHER, beside_twins

if TYPE_CHECKING:
    from tests.importhook.conftest import Lay, Put

NET = """
    import collections, enum, functools, pickle
    from pickle import Pickler, Unpickler, dump, dumps, loads

    class Kind(enum.Enum):
        A = 1
    class Net:
        class Inner:
            pass
        def __init__(self, **held):
            self.__dict__.update(held)
        def __eq__(self, other):
            return type(self) is type(other) and vars(self) == vars(other)
        def method(self):
            return 1
    Pair = collections.namedtuple("Pair", "a b")
    def function():
        return 1
    def everything():
        return [Net(kind=Kind.A, inner=Net.Inner), Pair(1, "pkg.net"), function, Net(x=2).method,
                functools.partial(function), {Net: __name__, "again": Net}, "x" * 70_000, Net()]
    def written(value, protocol):
        file = io.BytesIO()
        pickle.dump(value, file, protocol)
        out = pickle.Pickler(file, protocol)
        out.dump(value)
        out.dump([value, Net])
        return dumps(value, protocol), file.getvalue()
    import io
    def read(data):
        file = io.BytesIO(data)
        one = pickle.load(file)
        both = Unpickler(file)
        return one, both.load(), both.load()
    """
TREE = {"pkg/__init__.py": "", "pkg/net.py": NET}
PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)


@pytest.fixture
def net(put: Put) -> Any:
    put(TREE)
    return importlib.import_module(f"{NAME}.pkg.net")


@beside_twins
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_clean_names_pickles_of_old_code_are_those_of_the_old_code_alone(
    protocol: int, net: Any, lay: Lay
) -> None:
    value = [v for v in net.everything() if not isinstance(v, dict)]
    alone = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, pkg.net as n; v = [v for v in n.everything() if not isinstance(v, dict)];"
            "sys.stdout.buffer.write(n.written(v, int(sys.argv[1]))[0])",
            str(protocol),
        ],
        cwd=lay(TREE).top,
        capture_output=True,
        check=True,
    ).stdout
    data, file = net.written(value, protocol)
    assert NAME.encode() not in data + file
    assert data == alone
    assert type(net.loads(alone)[0]) is net.Net


@beside_twins
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_clean_names_old_code_reads_what_it_wrote(protocol: int, net: Any) -> None:
    value = [*net.everything()[:3], {net.Net: 1}, net.Net]
    data, file = net.written(value, protocol)
    assert net.loads(data) == value
    assert net.read(file) == (value, value, [value, net.Net])


@beside_twins
def test_clean_names_a_pickle_of_a_library_names_the_splint(net: Any) -> None:
    """A worker finds the class by it, and no other version's."""
    data = pickle.dumps(net.Net())
    assert NAME.encode() in data
    assert type(pickle.loads(data)) is net.Net


@beside_twins
def test_clean_names_of_another_version_stay(put: Put, net: Any) -> None:
    put(TREE, name=OTHER)
    other = importlib.import_module(f"{OTHER}.pkg.net")
    data = net.dumps([net.Net(), other.Net()])
    assert NAME.encode() not in data
    assert [type(v) for v in net.loads(data)] == [net.Net, other.Net]


def test_clean_names_text_that_objects_hold_is_theirs(net: Any) -> None:
    held = {"path": f"{NAME}.pkg.net", "more": [NAME, f"{NAME}.pkg.net.Net " * 20]}
    assert vars(net.loads(net.dumps(net.Net(**held)))) == held


plain = st.recursive(
    st.none() | st.integers() | st.text() | st.binary() | st.just(NAME) | st.just(f"{NAME}.a"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(value=plain, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_clean_names_leave_every_other_pickle_alone(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    assert with_original_names(data, NAME) == data


def test_clean_names_large_buffers_travel_outside(net: Any) -> None:
    buffers: list[pickle.PickleBuffer] = []
    value = [net.Net(), pickle.PickleBuffer(bytearray(b"abc"))]
    data = net.dumps(value, 5, buffer_callback=buffers.append)
    again = net.loads(data, buffers=buffers)
    assert again[1] == bytearray(b"abc")


@beside_twins
def test_clean_names_the_mounts_pickle_serves_libraries(put: Put) -> None:
    mount = put(TREE)
    old = importlib.import_module(f"{NAME}.pkg.net")
    data = mount.pickle.dumps(old.Net(x=1))
    assert NAME.encode() not in data
    assert mount.pickle.loads(data) == old.Net(x=1)
    file = io.BytesIO()
    mount.pickle.Pickler(file, 2).dump(old.Pair(1, 2))
    assert type(mount.pickle.loads(file.getvalue())) is old.Pair


SPECS = {
    "f-string": "f'{Net.__module__}.{Net.__qualname__}'",
    "f-string of self": "Net().path()",
    "f-string with conversion": "f'{type(Net()).__module__!s}.Net'",
    "plus": "Net.__module__ + '.' + Net.__qualname__",
    "percent": "'%s.%s' % (Net.__module__, Net.__qualname__)",
    "percent of one": "'%s.Net' % Net.__module__",
    "format": "'{}.{n}'.format(Net.__module__, n=Net.__name__)",
    "format by name": "'{m}.Net'.format(m=Net.__module__)",
    "join": "'.'.join([Net.__module__, Net.__qualname__])",
    "join of a tuple": "'.'.join((Net.__module__, 'Net'))",
    "dict": "{'class': Net.__module__}['class'] + '.Net'",
    "exec": "text('f\"{Net.__module__}.Net\"')",
    "getattr": "f'{getattr(Net, \"__module__\", None)}.Net'",
    "or": "f'{Net.__module__ or \"builtins\"}.Net'",
    "if": "f'{Net.__module__ if Net else None}.Net'",
    "variable": "by_variable(Net)",
    "variable with plus": "with_plus(Net)",
    "variables": "by_variables(Net)",
    "annotated variable": "annotated(Net)",
    "walrus": "f'{module}.Net' if (module := Net.__module__) else None",
    "variable around": "around(Net)()",
    "variable of the module": "of_module()",
    "variable that is no module before": "before(Net)",
}
SPEC = """
    class Net:
        def path(self):
            return f"{self.__class__.__module__}.{self.__class__.__qualname__}"
    def text(source):
        return eval(source)
    def by_variable(cls):
        module = cls.__module__
        return f"{module}.{cls.__qualname__}"
    def with_plus(cls):
        module = cls.__module__
        if module is None or module == str.__class__.__module__:
            return cls.__name__
        return module + "." + cls.__name__
    def by_variables(cls):
        module, name = cls.__module__, cls.__qualname__
        return ".".join((module, name))
    def annotated(cls):
        module: str = getattr(cls, "__module__", "")
        return "%s.%s" % (module, cls.__name__)
    def around(cls):
        module = cls.__module__
        class Inner:
            def __call__(self):
                return "{}.Net".format(module)
        return Inner()
    here = Net.__module__
    def of_module():
        return f"{here}.Net"
    def before(cls):
        module = None
        if module is None:
            module = cls.__module__
        return f"{module}.Net"
    def stays(cls):
        module = cls.__module__
        return sys.modules[module].Net is cls and module == __name__
    def log(cls):
        module = cls.__module__
        return logging.getLogger(f"{module}.Net").name
    def other(module):
        return f"{module}"
    import logging, sys
    same = Net.__module__ == __name__
    found = sys.modules[Net.__module__].Net is Net
    logger = logging.getLogger(f"{Net.__module__}.{Net.__name__}").name
    joined = f"{1 + 1}" + " " + f"{len.__module__}.{None!r}"
    seen = """


@beside_twins
@pytest.mark.parametrize("form", SPECS)
def test_clean_names_specs_made_from_module_names(form: str, put: Put) -> None:
    source = f"{SPEC.rstrip()} {SPECS[form]}\n"
    put({"pkg/__init__.py": "", "pkg/net.py": source})
    old = importlib.import_module(f"{NAME}.pkg.net")
    assert old.seen == "pkg.net.Net"


@beside_twins
def test_clean_names_elsewhere_module_names_are_what_they_are(put: Put) -> None:
    put({"pkg/__init__.py": "", "pkg/net.py": SPEC + "1\n"})
    old = importlib.import_module(f"{NAME}.pkg.net")
    assert old.same
    assert old.found
    assert old.logger == f"{NAME}.pkg.net.Net"
    assert old.joined == "2 builtins.None"
    assert old.stays(old.Net)
    assert old.log(old.Net) == f"{NAME}.pkg.net.Net"
    assert old.other(old.Net.__module__) == f"{NAME}.pkg.net"


def test_clean_names_a_missing_module_name_raises_as_before(put: Put) -> None:
    put({"pkg/__init__.py": "", "pkg/net.py": "def f(x): return f'{x.__module__}'\n"})
    old = importlib.import_module(f"{NAME}.pkg.net")
    with pytest.raises(AttributeError, match="'int' object has no attribute '__module__'"):
        old.f(1)
    assert old.f(len) == "builtins"


def test_clean_names_installed_distributions_are_asked_for_by_package(put: Put) -> None:
    source = """
        import importlib.metadata
        from importlib.metadata import distribution, metadata
        version = importlib.metadata.version(__package__)
        name = metadata(__name__)["Name"]
        files = importlib.metadata.files(__package__)
        again = distribution(distribution_name=__package__).version
        """
    put({"pytest/__init__.py": source})
    old = importlib.import_module(f"{NAME}.pytest")
    assert old.version == old.again == importlib.metadata.version("pytest")
    assert old.name == "pytest"
    assert old.files


def test_clean_names_a_replaced_question_is_asked(
    put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
        import importlib.metadata
        def version(): return importlib.metadata.version(__package__)
        real = version()
        """
    put({"pytest/__init__.py": source})
    old = importlib.import_module(f"{NAME}.pytest")
    monkeypatch.setattr(importlib.metadata, "version", "fake {}".format)
    assert old.version() == "fake pytest"
    assert old.real == pytest.__version__
