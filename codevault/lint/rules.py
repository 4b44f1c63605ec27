"""The rules of the boundary, each a kind of finding."""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from codevault.lint.project import normal, within
from codevault.lint.strings import Reading, reading

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from codevault.lint.graph import Import
    from codevault.lint.project import Project

NOTES: Final = frozenset({"string-unseen"})
"""Kinds that are listed, and are no finding: nothing says that they are wrong."""
# Of what is installed here, the metadata say it.
_IMPORTED_AS: Final = {
    "yaml": "pyyaml",
    "PIL": "pillow",
    "cv2": "opencv-python",
    "sklearn": "scikit-learn",
    "git": "gitpython",
    "dateutil": "python-dateutil",
}


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One line that crosses the boundary.

    Attributes:
        kind: The rule: `third-party`, `policy-imports-application`, `shared-imports-policy`,
            `application-imports-policy`, `concrete-class`, `string-unfollowed`, `string-unseen`,
            or `shared-api`.
        path: The file, relative to the project.
        line: The line, from 1; 0 where there is none.
        module: The module.
        what: What it does.
    """

    kind: str
    path: str
    line: int
    module: str
    what: str


def broken(project: Project, imports: Iterable[Import]) -> list[Finding]:
    """All findings in a project, by file and line."""
    readings = {
        name: reading(project.read(name), _package(project, name)) for name in project.modules
    }
    classes = _classes(project, readings)
    found = {f for each in imports for f in _of_import(project, each, readings, classes)}
    for name, read in readings.items():
        found |= set(_of_source(project, name, read, classes))
    return sorted(found, key=lambda f: (f.path, f.line, f.kind, f.what))


def _classes(project: Project, readings: Mapping[str, Reading]) -> set[str]:
    """The classes of policy code, by every name under which modules hand them on."""
    policy = {name: read for name, read in readings.items() if project.part(name) == "policy"}
    found = {f"{name}.{cls}" for name, read in policy.items() for cls in read.classes}
    before = 0
    while before < len(found):
        before = len(found)
        found |= {
            f"{module}.{name}"
            for module, read in readings.items()
            for name, meant in read.names.items()
            if meant in found
        }
    return found


def _package(project: Project, module: str) -> str:
    whole = project.modules[module].endswith("/__init__.py")
    return module if whole else module.rpartition(".")[0]


def _of_import(
    project: Project, each: Import, readings: Mapping[str, Reading], classes: Collection[str]
) -> Iterator[Finding]:
    # A module's own package is imported with it, whatever it says.
    if each.importer not in project.modules or within(each.importer, (each.imported,)):
        return
    importer, path = each.importer, project.modules[each.importer]
    part = project.part(importer)

    def finding(kind: str, what: str) -> Finding:
        return Finding(kind, path, each.line, importer, what)

    if each.imported not in project.modules:
        top = each.imported.partition(".")[0]
        own = any(within(name, (top,)) for name in project.modules)
        if part == "policy" and not own and not _declared(project, top):
            yield finding("third-party", f"imports {top}, which the project does not declare")
        return
    other = project.part(each.imported)
    if (part, other) == ("policy", "application"):
        yield finding("policy-imports-application", f"imports {each.imported}")
    elif (part, other) == ("shared", "policy"):
        yield finding("shared-imports-policy", f"imports {each.imported}")
    elif (part, other) == ("application", "policy"):
        named = [n for n in readings[importer].names.values() if n in classes]
        names = (n.rpartition(".") for n in named)
        here = sorted(n for home, _, n in names if home == each.imported and n in each.text)
        more = f" for {', '.join(here)}" if here else ""
        yield finding("application-imports-policy", f"imports {each.imported}{more}")


def _declared(project: Project, top: str) -> bool:
    if project.packages is None or top in sys.stdlib_module_names or within(top, project.shared):
        return True
    if any(prefix.partition(".")[0] == top for prefix in project.shared):
        return True
    known = {_IMPORTED_AS.get(top, top), top, *_distributions().get(top, ())}
    return any(normal(name) in project.packages for name in known) or any(
        name.startswith(f"{normal(top)}-") for name in project.packages
    )


def _distributions() -> Mapping[str, list[str]]:
    if not _installed:
        _installed.update(importlib.metadata.packages_distributions())
    return _installed


_installed: dict[str, list[str]] = {}


def _of_source(
    project: Project, name: str, read: Reading, classes: Collection[str]
) -> Iterator[Finding]:
    path, part = project.modules[name], project.part(name)
    if part == "application":
        for place in read.compared:
            if place.what in classes:
                what = f"asks whether something is a {place.what}"
                yield Finding("concrete-class", path, place.line, name, what)
        plain = {cls.rpartition(".")[2] for cls in classes}
        for place in read.spelled:
            if place.what in plain:
                what = f"asks whether the class of something is called {place.what}"
                yield Finding("concrete-class", path, place.line, name, what)
        for place in read.texts:
            if place.what.replace(":", ".") in classes:
                what = f"names the class {place.what}"
                yield Finding("concrete-class", path, place.line, name, what)
    if part == "policy":
        for place in read.unfollowed:
            yield Finding("string-unfollowed", path, place.line, name, place.what)
    for place in read.unseen:
        yield Finding("string-unseen", path, place.line, name, place.what)
