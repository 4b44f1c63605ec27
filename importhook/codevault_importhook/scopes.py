"""What the names in one module mean: which of them, where, read something that has a stand-in."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Final

from codevault_importhook.moduletexts import given

WRAPPED: Final = frozenset({"builtins.exec", "builtins.eval"})
"""Of a plain call only the first argument is replaced: they look at the frame that calls them."""

_AS_VALUES: Final = {"builtins.exec": "object.exec", "builtins.eval": "object.eval"}
"""What stands in for them where they are no plain call: `map(eval, texts)`, `exec(*arguments)`."""

SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
"""Nodes whose body is a scope of its own."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a module, function or class body hides of the names that have stand-ins.

    `bound` are no builtins here, `arguments` no imported modules, `modules` variables that hold the
    `__module__` of something; `outer` is what functions inside a class body see instead of it.
    """

    bound: frozenset[str]
    arguments: frozenset[str]
    modules: frozenset[str] = frozenset()
    outer: Scope | None = None


def attribute_of(node: object) -> tuple[ast.expr, str] | None:
    """What `node` reads an attribute of, and which: `sys.modules`, `getattr(sys, "modules")`."""
    if isinstance(node, ast.Attribute):
        return (node.value, node.attr) if isinstance(node.ctx, ast.Load) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
        match node.args:
            case [value, ast.Constant(value=str(attribute)), *_]:
                return value, attribute
    return None


class Names:
    """What the names of one module mean, as far as stand-ins need it.

    Imports are read module-wide: what one function imports counts in all. What hides a name counts
    in its own scope, so that a method `compile` or an argument `pickle` changes nothing elsewhere.
    Names in `handed` may be the modules that are called so, without an import.
    """

    def __init__(
        self, tree: ast.AST, stand_ins: frozenset[str], handed: frozenset[str] = frozenset()
    ) -> None:
        self._stand_ins = stand_ins
        self._builtins = {n[9:] for n in stand_ins if n.startswith("builtins.")} | {"getattr"}
        self._imported: dict[str, set[str]] = {}
        self._handed: dict[str, set[str]] = {name: {name} for name in handed}
        self._tops = {n.partition(".")[0] for n in stand_ins} - {"object"}
        self._bound: dict[ast.AST | None, set[str]] = {}
        self._arguments: dict[ast.AST | None, set[str]] = {}
        self._modules: dict[ast.AST | None, set[str]] = {}
        waiting: list[tuple[ast.AST, ast.AST | None]] = [(tree, None)] if stand_ins else []
        while waiting:
            node, home = waiting.pop()
            self._read(node, home)
            inner = node if isinstance(node, SCOPES) else home
            for field in node._fields:
                value = getattr(node, field, None)
                within = inner if field in ("body", "args") else home
                if isinstance(value, list):
                    waiting += [(child, within) for child in value if isinstance(child, ast.AST)]
                elif isinstance(value, ast.AST):
                    waiting.append((value, within))

    def _read(self, node: ast.AST, home: ast.AST | None) -> None:
        for variable in given(node):
            self._modules.setdefault(home, set()).add(variable)
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                self._bind(node.id, home)
        elif isinstance(node, ast.Import):
            for a in node.names:
                meant = a.name if a.asname else a.name.partition(".")[0]
                self._imported.setdefault(a.asname or meant, set()).add(meant)
        elif isinstance(node, ast.ImportFrom):
            for a in node.names:
                bound = a.asname or a.name
                meant = f"{node.module}.{a.name}" if node.level == 0 else ""
                if meant not in WRAPPED or bound != a.name:
                    self._bind(bound, home)
                if meant:
                    self._imported.setdefault(bound, set()).add(meant)
                if a.name in self._tops:
                    self._handed.setdefault(bound, set()).add(a.name)
        elif isinstance(node, ast.arg):
            self._bind(node.arg, home)
            self._arguments.setdefault(home, set()).add(node.arg)
        elif isinstance(node, ast.Global):
            for name in node.names:
                self._bind(name, None)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._bind(node.name, home)

    def _bind(self, name: str, home: ast.AST | None) -> None:
        if name in self._builtins:
            self._bound.setdefault(home, set()).add(name)

    def module(self) -> Scope:
        """The scope of the module's own body."""
        modules = frozenset(self._modules.get(None, ()))
        return Scope(frozenset(self._bound.get(None, ())), frozenset(), modules)

    def within(self, node: ast.AST, around: Scope) -> Scope:
        """The scope of the body of a function or class that stands in `around`."""
        outer = around.outer or around
        bound = self._bound.get(node, set())
        arguments = self._arguments.get(node, set()) & (self._imported.keys() | self._handed.keys())
        modules = self._modules.get(node, set())
        if not bound and not arguments and not modules:
            return outer
        return Scope(
            outer.bound | bound,
            outer.arguments | arguments,
            outer.modules | modules,
            outer if isinstance(node, ast.ClassDef) else None,
        )

    def stand_in(self, node: object, scope: Scope) -> str | None:
        """The dotted name that `node` reads, if something stands in for it."""
        name = self.builtin(node, scope) or self._found(node, scope, self._imported)
        if name in WRAPPED:
            name = _AS_VALUES[name]
        return name if name in self._stand_ins else None

    def handed(self, node: object, scope: Scope) -> str | None:
        """The dotted name that `node` reads if what another module handed on is that module."""
        name = self._found(node, scope, self._handed) if self._handed else None
        return None if name in WRAPPED else name

    def wrapped(self, node: object, scope: Scope) -> str | None:
        """Which of `WRAPPED` the function of a call is."""
        if isinstance(node, ast.Name) and node.id not in scope.arguments:
            found = self._imported.get(node.id, set()) & WRAPPED
            if found:
                return found.pop()
        name = self.builtin(node, scope) or self._found(node, scope, self._imported)
        return name if name in WRAPPED else None

    def _found(self, node: object, scope: Scope, named: dict[str, set[str]]) -> str | None:
        """What stands in for an attribute of a module that has its name from an import."""
        if not isinstance(node, ast.Attribute | ast.Call):
            return None
        attributes: list[str] = []
        inner: object = node
        while (read := attribute_of(inner)) is not None:
            if isinstance(inner, ast.Call) and "getattr" in scope.bound:
                return None
            inner, attribute = read
            attributes.append(attribute)
        if not attributes or not isinstance(inner, ast.Name) or inner.id in scope.arguments:
            return None
        behind = ".".join(reversed(attributes))
        meanings = named.get(inner.id, ())
        found = {f"{meaning}.{behind}" for meaning in meanings} & self._stand_ins
        return found.pop() if found else None

    def builtin(self, node: object, scope: Scope) -> str | None:
        """The builtin that `node` names, if something stands in for it."""
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            name = f"builtins.{node.id}"
            return name if name in self._stand_ins and node.id not in scope.bound else None
        return None
