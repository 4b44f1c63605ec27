"""Which names of other packages a snapshot's modules use, read from its sources: nothing runs."""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from typing import Protocol

    class Files(Protocol):
        """The files of a tree."""

        @property
        def paths(self) -> Collection[str]:
            """Their paths."""

        def read(self, path: str) -> bytes:
            """The verified bytes of one."""


TAG: Final = "uses-1"
"""The tag of what `derive` gives; another number when it finds other names."""


class Use(NamedTuple):
    """Where a name is used first.

    Attributes:
        path: The file, in the tree.
        line: The line, from 1.
        eager: True if importing the module uses it, and not only a call of some function.
    """

    path: str
    line: int
    eager: bool

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def uses_of(derived: bytes, modules: Iterable[str], roots: Sequence[str]) -> dict[str, Use]:
    """Dotted names that modules use of others, each with its first place.

    Args:
        derived: What `derive` gave for their tree.
        modules: Their names.
        roots: Folders of the import path, in order.
    """
    found: dict[str, Use] = {}
    by_path: Mapping[str, Mapping[str, tuple[int, bool]]] = json.loads(derived)
    starts = ["" if root == "." else f"{root}/" for root in roots]
    for module in modules:
        inner = module.replace(".", "/")
        ends = (f"{inner}/__init__.py", f"{inner}.py")
        paths = [f"{start}{end}" for start in starts for end in ends]
        path = next((path for path in paths if path in by_path), "")
        for name, (line, eager) in by_path.get(path, {}).items():
            if name not in found or (eager and not found[name].eager):
                found[name] = Use(path, line, eager)
    return found


def derive(files: Files) -> bytes:
    """What each Python file of a tree uses, as JSON; to be kept with the tree's compiled code."""
    result = {}
    for path in sorted(files.paths):
        if path.endswith(".py"):
            try:
                result[path] = names_in(files.read(path))
            except (SyntaxError, ValueError, RecursionError):
                continue  # the import will say so, if anything imports it
    return json.dumps(result, separators=(",", ":")).encode()


def imports_in(source: str) -> set[str]:
    """Every dotted name that a module imports absolutely, wherever that stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def names_in(source: bytes | str) -> dict[str, tuple[int, bool]]:
    """Dotted names that a module imports absolutely, and attributes it reads of them.

    What stands under `try` or `if TYPE_CHECKING` is left aside: such code copes without. So is a
    name that the module also binds otherwise.

    Returns:
        For each name its first line, and whether the import of the module uses it.
    """
    reader = _Reader()
    reader.visit(ast.parse(source))
    for name, attributes, line, eager in reader.reads:
        target = reader.bound.get(name)
        if target is not None and name not in reader.rebound:
            reader.note(f"{target}.{attributes}", line, eager)
    return reader.found


class _Reader(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: dict[str, tuple[int, bool]] = {}
        self.bound: dict[str, str] = {}
        self.rebound: set[str] = set()
        self.reads: list[tuple[str, str, int, bool]] = []
        self._functions = 0

    def note(self, name: str, line: int, eager: bool) -> None:
        known = self.found.get(name)
        if known is None or (eager and not known[1]):
            self.found[name] = (line, eager)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.note(alias.name, node.lineno, not self._functions)
            top = alias.name.partition(".")[0]
            self._bind(alias.asname or top, alias.name if alias.asname else top)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or not node.module:
            return
        for alias in node.names:
            if alias.name == "*":
                self.note(node.module, node.lineno, not self._functions)
                continue
            self.note(f"{node.module}.{alias.name}", node.lineno, not self._functions)
            self._bind(alias.asname or alias.name, f"{node.module}.{alias.name}")

    def _bind(self, name: str, target: str) -> None:
        if self.bound.setdefault(name, target) != target:
            self.rebound.add(name)

    def visit_Try(self, node: ast.Try) -> None:
        for part in (*(() if node.handlers else node.body), *node.orelse, *node.finalbody):
            self.visit(part)

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" in ast.dump(node.test) or "hasattr" in ast.dump(node.test):
            return
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.rebound.add(node.name)
        self.generic_visit(node)

    def _visit_function(self, node: ast.AST) -> None:
        self.rebound.add(getattr(node, "name", ""))
        for name, value in ast.iter_fields(node):
            inside = name == "body"  # defaults, decorators and annotations run with the import
            self._functions += inside
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, ast.AST):
                    self.visit(part)
            self._functions -= inside

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_function  # noqa: N815

    def visit_arg(self, node: ast.arg) -> None:
        self.rebound.add(node.arg)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.rebound.add(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            chain.insert(0, inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            self.generic_visit(node)
        elif isinstance(node.ctx, ast.Load):
            self.reads.append((inner.id, ".".join(chain), node.lineno, not self._functions))
