"""The own modules of a tree, and what importing some of them imports: read, never run."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence


def modules_of(paths: Collection[str], roots: Sequence[str]) -> dict[str, str]:
    """Module name to path of each Python file below the roots; of two of a name the earlier root's.

    A package beats a module of its name beside it, as for CPython.
    """
    found: dict[str, str] = {}
    for root in roots:
        start = "" if root == "." else f"{root}/"
        inside = (path for path in paths if path.startswith(start) and path.endswith(".py"))
        for path in sorted(inside, key=lambda p: (not p.endswith("/__init__.py"), p)):
            name = path[len(start) : -len(".py")].replace("/", ".").removesuffix(".__init__")
            if all(part.isidentifier() for part in name.split(".")) and name != "__init__":
                found.setdefault(name, path)
    return found


def imported_with(
    start: Iterable[str], table: Mapping[str, str], read: Callable[[str], bytes]
) -> set[str]:
    """The own modules that stand in `sys.modules` once `start` was imported.

    What only a call of some function imports, or an import by string, is not followed.

    Args:
        start: Names of modules; those that are not in the table are passed over.
        table: What `modules_of` gave.
        read: The bytes of a path.
    """
    waiting, found = [name for name in start if name in table], set[str]()
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            tree = ast.parse(read(table[name]))
        except (SyntaxError, ValueError, RecursionError):
            continue
        package = table[name].endswith("/__init__.py")
        for target in _targets(tree, name if package else name.rpartition(".")[0]):
            parts = target.split(".")
            prefixes = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
            waiting += [prefix for prefix in prefixes if prefix in table]
        parts = name.split(".")
        waiting += [p for end in range(1, len(parts)) if (p := ".".join(parts[:end])) in table]
    return found


def _targets(tree: ast.Module, package: str) -> Iterator[str]:
    """Dotted names that a module imports when it is imported itself."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                outer = parts[: len(parts) - node.level + 1]
                base = ".".join([*outer, *([base] if base else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
