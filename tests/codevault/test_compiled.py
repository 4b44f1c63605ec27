"""Compiled modules: those in the tree load; those that were never committed have ways out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

import codevault

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = {
    "src/gait/__init__.py": "",
    "src/gait/net.py": "import torch\nfrom gait._fast import scale\n"
    "class Net(torch.nn.Linear):\n    def __init__(self): super().__init__(4, scale())\n",
}
STAND_IN = {"src/gait/_fast.py": "def scale(): return 2\n"}


def test_module_that_was_not_committed_names_the_ways_out(project: Any) -> None:
    commit = project.commit(FILES)
    splint = codevault.load_code(project.top, commit)
    with pytest.raises(ModuleNotFoundError) as caught:
        splint.import_module("gait.net")
    assert caught.value.name == "gait._fast"
    assert "shared=['gait._fast']" in str(caught.value)
    assert "overlay={'src/gait/_fast.py': ...}" in str(caught.value)


def test_both_ways_out_work(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = project.commit(FILES)
    laid = codevault.load_code(project.top, commit, overlay=STAND_IN)
    assert laid.load_symbol("gait.net:Net")().out_features == 2
    project.write({"src/gait/_fast.py": "def scale(): return 3\n"})  # built in the application
    project.load("gait._fast")
    shared = codevault.load_code(project.top, commit, shared=["gait._fast"])
    assert shared.load_symbol("gait.net:Net")().out_features == 3
    assert shared.import_module("gait._fast") is sys.modules["gait._fast"]


def test_stand_in_travels_with_the_policy(project: Any, tmp_path: Path) -> None:
    commit = project.commit(FILES)
    splint = codevault.load_code(project.top, commit, overlay=STAND_IN)
    policy = splint.load_symbol("gait.net:Net")()
    codevault.save_policy(tmp_path / "best.mpt", policy, probe=torch.ones(1, 4))
    again = codevault.load_policy(tmp_path / "best.mpt", cache=tmp_path / "empty")
    assert torch.equal(again.weight, policy.weight)


@pytest.fixture
def build(tmp_path: Path) -> Callable[[str], dict[str, str | bytes]]:
    """Compiles C text to `gait._fast`; the files of a tree with it."""
    import subprocess
    import sysconfig

    def compiled(text: str) -> dict[str, str | bytes]:
        source, library = tmp_path / "fast.c", tmp_path / "fast.so"
        source.write_text(f"#include <Python.h>\n{text}")
        include = sysconfig.get_paths()["include"]
        compiler = ["cc", "-shared", "-fPIC", f"-I{include}", str(source), "-o", str(library)]
        try:
            done = subprocess.run(compiler, capture_output=True, text=True)
        except OSError as error:
            pytest.skip(f"no C compiler: {error}")
        if "Python.h: No such file" in done.stderr:
            pytest.skip("this interpreter came without its headers")
        assert done.returncode == 0, done.stderr
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        return {**FILES, f"src/gait/_fast{suffix}": library.read_bytes()}

    return compiled


COUNTING = """
    static long calls = 4;
    static PyObject *scale(PyObject *self, PyObject *none) { return PyLong_FromLong(++calls); }
    static PyMethodDef methods[] = {{"scale", scale, METH_NOARGS, ""}, {NULL}};
    static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_fast", "", -1, methods};
    PyMODINIT_FUNC PyInit__fast(void) { return PyModule_Create(&module); }
"""


@pytest.fixture
def fast(build: Any) -> dict[str, str | bytes]:
    """A compiled `gait._fast` that counts its calls in static memory, from five on."""
    files: dict[str, str | bytes] = build(COUNTING)
    return files


def test_extension_module_in_the_tree_loads_below_the_splint(project: Any, fast: Any) -> None:
    splint = codevault.load_code(project.top, project.commit(fast))
    assert splint.load_symbol("gait.net:Net")().out_features == 5
    assert splint.import_module("gait._fast").__name__ == f"{splint.name}.gait._fast"
    assert "gait._fast" not in sys.modules


def test_extension_module_of_two_versions_has_a_state_for_each(project: Any, fast: Any) -> None:
    """Each version's file is its own, also where it is equal, so the system maps it anew."""
    commits = [project.commit({**fast, "src/gait/n.py": f"N = {n}\n"}) for n in range(2)]
    one, two = (
        codevault.load_code(project.top, commit).import_module("gait._fast") for commit in commits
    )
    assert one is not two
    assert one.__file__ != two.__file__
    assert [one.scale(), one.scale(), two.scale(), one.scale(), two.scale()] == [5, 6, 5, 7, 6]


def test_I5_compiled_module_whose_file_was_changed_never_runs(
    project: Any, build: Any, fast: Any
) -> None:
    """The system runs the laid-out file: it is compared with the snapshot, and laid out again."""
    other = build(COUNTING.replace("4", "40"))
    ((path, evil),) = ((name, data) for name, data in other.items() if "_fast" in name)
    # A commit of its own: a module that this process runs already is not imported again.
    commit = project.commit({**fast, "src/gait/n.py": "N = 'changed'\n"})
    splint = codevault.load_code(project.top, commit)
    file = Path(splint.tree.location(path))

    def change() -> None:
        file.chmod(0o600)
        file.write_bytes(evil)

    change()  # between the load and the import
    with pytest.raises(ImportError, match=r"was changed(.|\n)*verify --repair"):
        splint.import_module("gait._fast")
    splint.unload()
    change()  # before the load, which lays it out again
    splint = codevault.load_code(project.top, commit)
    assert file.read_bytes() == fast[path]
    assert splint.import_module("gait._fast").scale() == 5
    splint.unload()


ONE_NAME = 'PyObject_GetAttrString(from, "Size")'


@pytest.mark.parametrize("imported", [False, True], ids=["twin-not-imported", "twin-imported"])
@pytest.mark.parametrize("phases", [1, 2])
@pytest.mark.parametrize("what", ["from", ONE_NAME], ids=["module", "class"])
def test_strings_compiled_module_that_imports_own_names_is_refused(
    project: Any, build: Any, imported: bool, phases: int, what: str
) -> None:
    """[strings] C code is not rewritten: it gets the application's module, or nothing."""
    fill = f"""
        PyObject *from = PyImport_ImportModule("gait.sizes");
        if (!from) return FAILED;
        PyModule_AddObject(m, "got", {what});
        """
    single = f"""
        #define FAILED NULL
        static struct PyModuleDef module = {{PyModuleDef_HEAD_INIT, "_fast", "", -1}};
        PyMODINIT_FUNC PyInit__fast(void) {{
            PyObject *m = PyModule_Create(&module); {fill} return m; }}
        """
    multi = f"""
        #define FAILED -1
        static int fill(PyObject *m) {{ {fill} return 0; }}
        static PyModuleDef_Slot slots[] = {{ {{Py_mod_exec, fill}}, {{0, NULL}} }};
        static struct PyModuleDef module = {{
            PyModuleDef_HEAD_INIT, "_fast", "", 0, NULL, slots}};
        PyMODINIT_FUNC PyInit__fast(void) {{ return PyModuleDef_Init(&module); }}
        """
    files = {**build(single if phases == 1 else multi), "src/gait/sizes.py": "class Size: pass\n"}
    commit = project.commit(files)
    if imported:
        project.load("gait.sizes")
    splint = codevault.load_code(project.top, commit)
    with pytest.raises(ImportError, match=r"own 'gait(\.sizes)?' in a way that cannot be followed"):
        splint.import_module("gait._fast")
    assert imported == ("gait.sizes" in sys.modules)
    shared = codevault.load_code(project.top, commit, shared=["gait.sizes"])
    project.load("gait.sizes")
    assert shared.import_module("gait._fast").got
