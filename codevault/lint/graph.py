"""The import graph of a project, by grimp, over one folder in which all roots are merged.

grimp finds packages on the import path of its process, so it has one of its own. Files are linked
under the names that imports give them; a folder becomes a package, and a module of its own a
package of one file, which is what grimp reads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Final, NamedTuple

from codevault.errors import CodeError, CodevaultError

if TYPE_CHECKING:
    from codevault.lint.project import Project

_CHILD: Final = """\
import json, sys
sys.path.insert(0, sys.argv[1])
import grimp
graph = grimp.build_graph(*sys.argv[2:], include_external_packages=True, cache_dir=None)
for module in sorted(graph.modules):
    if not graph.is_module_squashed(module):
        for target in sorted(graph.find_modules_directly_imported_by(module)):
            for at in graph.get_import_details(importer=module, imported=target):
                print(json.dumps([module, target, at["line_number"], at["line_contents"]]))
"""


class Import(NamedTuple):
    """One import statement.

    Attributes:
        importer: The module that has it.
        imported: The module that it imports; of other packages the top-level name.
        line: Its line, from 1.
        text: The statement.
    """

    importer: str
    imported: str
    line: int
    text: str


def need(package: str) -> None:
    """Raises CodevaultError with the line that installs it, if a library of `lint` is missing."""
    import importlib.util

    if importlib.util.find_spec(package) is None:
        raise CodevaultError(
            f"codevault lint needs {package}",
            "it is not installed here: it comes with the extra `lint`",
            f"{os.path.basename(sys.executable)} -m pip install 'codevault[lint]'",
        )


def imports_of(project: Project) -> list[Import]:
    """All imports of a project's modules, in functions and under TYPE_CHECKING as well.

    Raises:
        CodeError: A module is no Python.
        CodevaultError: grimp is not installed.
    """
    need("grimp")
    tops = sorted({n.partition(".")[0] for n in project.modules} - sys.stdlib_module_names)
    if not tops:
        return []
    with tempfile.TemporaryDirectory(prefix="codevault-lint-") as folder:
        _merge(project, folder)
        done = subprocess.run(
            [sys.executable, "-P", "-c", _CHILD, folder, *tops],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise CodeError(
            f"the imports of {project.top} cannot be read",
            last.replace(f"{folder}{os.sep}", "")[:400],
            f"{os.path.basename(sys.executable)} -m compileall -q {project.top}",
        )
    return [Import(*json.loads(line)) for line in done.stdout.splitlines()]


def _merge(project: Project, folder: str) -> None:
    """Links each module under its name; folders between them become packages."""
    packages = {
        ".".join(name.split(".")[:end])
        for name in project.modules
        for end in range(1, name.count(".") + 1)
    }
    packages |= {name for name in project.modules if "." not in name}
    for name in sorted(packages):
        inside = os.path.join(folder, *name.split("."))
        os.makedirs(inside, exist_ok=True)
        if name not in project.modules:
            with open(os.path.join(inside, "__init__.py"), "x", encoding="utf-8"):
                pass
    for name, path in project.modules.items():
        base = os.path.join(folder, *name.split("."))
        link = os.path.join(base, "__init__.py") if name in packages else f"{base}.py"
        if name not in packages and path.endswith("/__init__.py"):
            os.makedirs(base, exist_ok=True)
            link = os.path.join(base, "__init__.py")
        os.symlink(os.path.realpath(os.path.join(project.top, path)), link)
