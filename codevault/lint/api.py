"""Breaking changes of shared modules between a commit and now, by griffe; nothing is imported."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from codevault.checkpointcode import open_cache, warm
from codevault.lint.graph import need
from codevault.lint.project import within
from codevault.lint.rules import Finding
from codevault_cache import Wanted
from codevault_cache.selection import stated_in

if TYPE_CHECKING:
    from codevault.checkpointcode import CachePath
    from codevault.lint.project import Project

_PYPROJECT: Final = "pyproject.toml"


def breaking(project: Project, commit: str, cache: CachePath) -> list[Finding]:
    """What users of shared modules at a commit would miss, or find changed, now.

    What was shared at that commit counts as well: its snapshots still take it from the application.

    Args:
        project: As it is now, in a git work tree.
        commit: The full commit to compare with.
        cache: Where its files are kept.

    Raises:
        FetchError: The work tree does not have the commit.
        CodevaultError: griffe is not installed.
    """
    need("griffe")
    vault = open_cache(cache)
    (snapshot,) = warm([Wanted(project.top, commit, roots=(".",))], vault)
    tree = vault.tree(snapshot.digest)
    said = stated_in(tree.read(_PYPROJECT) if _PYPROJECT in tree.paths else None)
    roots = tuple(dict.fromkeys((*(said.roots or ()), *project.roots, ".")))
    here = [r for r in roots if r == "." or any(p.startswith(f"{r}/") for p in tree.paths)]
    before = [tree.location("" if root == "." else root) for root in here]
    after = [os.path.join(project.top, "" if root == "." else root) for root in roots]
    every = {*project.shared, *(said.shared or ())}
    shared = sorted(p for p in every if not within(p, tuple(every - {p})))
    return [f for prefix in shared for f in _of(project, prefix, before, after)]


def _of(project: Project, prefix: str, before: list[str], after: list[str]) -> list[Finding]:
    import griffe

    old, new = _loaded(prefix, before), _loaded(prefix, after)
    if old is None:  # third party, or newly shared
        return []
    if new is None:
        return [Finding("shared-api", prefix, 0, prefix, f"{prefix} was there, and is gone")]
    found = []
    for breakage in griffe.find_breaking_changes(old, new):
        thing: Any = breakage.obj
        module = thing.module.path
        what = f"{thing.path}: {breakage.kind.value}"
        values = (breakage.old_value, breakage.new_value)
        if all(isinstance(value, str | int | float | bool | None) for value in values):
            what += f" ({values[0]} -> {values[1]})"
        line = thing.lineno or 0
        path = project.modules.get(module, module)  # one that is gone has none
        found.append(Finding("shared-api", path, line, module, what))
    return found


def _loaded(prefix: str, places: list[str]) -> Any:
    import griffe

    try:
        top = griffe.load(
            prefix.partition(".")[0],
            search_paths=places,
            allow_inspection=False,
            try_relative_path=False,
        )
        return top[prefix.partition(".")[2]] if "." in prefix else top
    except (ImportError, KeyError):
        return None
