"""The public face of `codevault lint`."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault.lint.api import breaking
from codevault.lint.graph import imports_of
from codevault.lint.project import project_at
from codevault.lint.rules import NOTES, Finding, broken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codevault.checkpointcode import CachePath


@dataclass(frozen=True, slots=True)
class Report:
    """What was found.

    Attributes:
        findings: By file and line; those of shared modules' API last.
        modules: How many modules are policy, shared and application code.
        imports: How many import statements were followed.
        declares: Whether the project declares packages; if not, none is undeclared.
    """

    findings: tuple[Finding, ...]
    modules: Mapping[str, int]
    imports: int
    declares: bool

    @property
    def ok(self) -> bool:
        """Whether nothing but notes was found."""
        return all(finding.kind in NOTES for finding in self.findings)


def lint(top: str, *, against: str | None = None, cache: CachePath = None) -> Report:
    """Checks the boundary between application and policy code; nothing of the project runs.

    Args:
        top: The project's folder, whose `pyproject.toml` has `[tool.codevault]`.
        against: A full commit with which the API of shared modules is compared, or None.
        cache: Where that commit's files are kept.

    Raises:
        CodeError: There is no code, or some of it is no Python.
        CodevaultError: The libraries of the extra `lint` are not installed.
        FetchError: The work tree does not have the commit.
    """
    project = project_at(os.path.abspath(top))
    imports = imports_of(project)
    found = broken(project, imports)
    if against is not None:
        found += breaking(project, against, cache)
    parts = Counter(project.part(module) for module in project.modules)
    modules = {part: parts[part] for part in ("policy", "shared", "application")}
    return Report(tuple(found), modules, len(imports), project.packages is not None)
