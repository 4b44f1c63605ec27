"""Compiles a module so that its absolute imports of own names carry the splint's name.

Import statements change, and expressions that reach modules by other ways (`sys.modules`,
`__import__`, `exec`: see stand_ins); lines, columns and everything else stay. Two statements take
the place of `import a.b.c`: the first imports the whole chain whatever attributes the parents have,
the second binds the name, so no further name is left behind. `__doc__` is what every object has.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

VERSION: Final = 3
"""Part of the key under which compiled code is kept: a change of the rules changes it."""

STAND_INS: Final = "__splint__"
"""The module, directly below the splint, that holds what stands in for other names."""

_WRAPPED: Final = frozenset({"builtins.exec", "builtins.eval"})
"""Only their first argument is replaced: the functions look at the frame that calls them."""


@dataclass(frozen=True, slots=True)
class Rules:
    """All that decides how a module is rewritten, besides its own text.

    Attributes:
        own: Top-level names that belong to the snapshot.
        stand_ins: Dotted names, such as `sys.modules`, that something else stands in for.
    """

    own: frozenset[str]
    stand_ins: frozenset[str] = frozenset()

    def owns(self, module: str | None) -> bool:
        """Whether the snapshot decides about `module`, by its top-level name."""
        return module is not None and module.partition(".")[0] in self.own


def compile_module(source: bytes, filename: str, rules: Rules, prefix: str) -> CodeType:
    """The code of one module, given as bytes in whatever encoding they declare.

    Raises:
        SyntaxError: As `compile` does; for source with null bytes ValueError on Python 3.11.
    """
    tree = ast.parse(source, filename)
    rewrite(tree, rules, prefix)
    code: CodeType = compile_tree(tree, filename, "exec")
    return code


def compile_tree(
    tree: ast.AST, filename: str, mode: str, flags: int = 0, optimize: int = -1
) -> Any:
    """`compile`, for trees that nest as deeply as text may: of trees it accepts a third of that."""
    try:
        return compile(tree, filename, mode, flags, True, optimize)  # type: ignore[call-overload]
    except RecursionError:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(3 * limit)
        try:
            return compile(tree, filename, mode, flags, True, optimize)  # type: ignore[call-overload]
        finally:
            sys.setrecursionlimit(limit)


def rewrite(tree: ast.AST, rules: Rules, prefix: str) -> None:
    """Changes imports, and uses of what has a stand-in, in place.

    Nodes are visited with a list, not by recursion: generated code nests deeply.
    """
    known = _Names(tree, rules.stand_ins)
    waiting = [(tree, known.module())]
    wrapped: list[tuple[ast.Call, str]] = []
    while waiting:
        node, scope = waiting.pop()
        if isinstance(node, ast.Call) and node.args and not isinstance(node.args[0], ast.Starred):
            name = known.builtin(node.func, scope)
            if name is not None and name in _WRAPPED:
                wrapped.append((node, name))
        inner = known.within(node, scope) if isinstance(node, _SCOPES) else scope
        for field, value in ast.iter_fields(node):
            within = inner if field == "body" else scope
            if isinstance(value, list):
                if any(isinstance(child, ast.Import | ast.ImportFrom) for child in value):
                    value[:] = [new for old in value for new in _statement(old, rules, prefix)]
                for place, child in enumerate(value):
                    if (name := known.stand_in(child, within)) is not None:
                        value[place] = _stand_in(name, child, prefix)
                    elif isinstance(child, ast.AST):
                        waiting.append((child, within))
            elif (name := known.stand_in(value, within)) is not None:
                setattr(node, field, _stand_in(name, value, prefix))
            elif isinstance(value, ast.AST):
                waiting.append((value, within))
    for call, name in wrapped:
        stand_in = _stand_in(name, call, prefix)
        call.args[0] = ast.copy_location(ast.Call(stand_in, [call.args[0]], []), call)


_SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass(frozen=True, slots=True)
class _Scope:
    """What a module, function or class body hides of the names that have stand-ins.

    `bound` are no builtins here, `arguments` no imported modules; `outer` is what functions inside
    a class body see instead of it.
    """

    bound: frozenset[str]
    arguments: frozenset[str]
    outer: _Scope | None = None


class _Names:
    """What the names of one module mean, as far as stand-ins need it.

    Imports are read module-wide: what one function imports counts in all. What hides a name counts
    in its own scope, so that a method `compile` or an argument `pickle` changes nothing elsewhere.
    """

    def __init__(self, tree: ast.AST, stand_ins: frozenset[str]) -> None:
        self._stand_ins = stand_ins
        self._builtins = {n[9:] for n in stand_ins if n.startswith("builtins.")}
        self._imported: dict[str, set[str]] = {}
        self._bound: dict[ast.AST | None, set[str]] = {}
        self._arguments: dict[ast.AST | None, set[str]] = {}
        waiting: list[tuple[ast.AST, ast.AST | None]] = [(tree, None)] if stand_ins else []
        while waiting:
            node, home = waiting.pop()
            self._read(node, home)
            inner = node if isinstance(node, _SCOPES) else home
            for field in node._fields:
                value = getattr(node, field, None)
                within = inner if field in ("body", "args") else home
                if isinstance(value, list):
                    waiting += [(child, within) for child in value if isinstance(child, ast.AST)]
                elif isinstance(value, ast.AST):
                    waiting.append((value, within))

    def _read(self, node: ast.AST, home: ast.AST | None) -> None:
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                self._bind(node.id, home)
        elif isinstance(node, ast.Import):
            for a in node.names:
                meant = a.name if a.asname else a.name.partition(".")[0]
                self._imported.setdefault(a.asname or meant, set()).add(meant)
        elif isinstance(node, ast.ImportFrom):
            for a in node.names:
                self._bind(a.asname or a.name, home)
                if node.level == 0:
                    meant = f"{node.module}.{a.name}"
                    self._imported.setdefault(a.asname or a.name, set()).add(meant)
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

    def module(self) -> _Scope:
        """The scope of the module's own body."""
        return _Scope(frozenset(self._bound.get(None, ())), frozenset())

    def within(self, node: ast.AST, around: _Scope) -> _Scope:
        """The scope of the body of a function or class that stands in `around`."""
        outer = around.outer or around
        bound = self._bound.get(node, set())
        arguments = self._arguments.get(node, set()) & self._imported.keys()
        if not bound and not arguments:
            return outer
        return _Scope(
            outer.bound | bound,
            outer.arguments | arguments,
            outer if isinstance(node, ast.ClassDef) else None,
        )

    def stand_in(self, node: object, scope: _Scope) -> str | None:
        """The dotted name that `node` reads, if something stands in for it."""
        name = self.builtin(node, scope)
        if name is None and isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            attributes: list[str] = []
            inner: ast.expr = node
            while isinstance(inner, ast.Attribute):
                attributes.append(inner.attr)
                inner = inner.value
            if not isinstance(inner, ast.Name) or inner.id in scope.arguments:
                return None
            behind = ".".join(reversed(attributes))
            meanings = self._imported.get(inner.id, ())
            found = {f"{meaning}.{behind}" for meaning in meanings} & self._stand_ins
            name = found.pop() if found else None
        return None if name in _WRAPPED else name

    def builtin(self, node: object, scope: _Scope) -> str | None:
        """The builtin that `node` names, if something stands in for it."""
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            name = f"builtins.{node.id}"
            return name if name in self._stand_ins and node.id not in scope.bound else None
        return None


def _stand_in(name: str, at: ast.expr, prefix: str) -> ast.expr:
    """`__import__("_splint_…").__splint__.sys_modules`, which needs no name of the module's own."""
    text = f"__import__({prefix!r}).{STAND_INS}.{attribute(name)}"
    tree = ast.parse(text, mode="eval").body
    for node in ast.walk(tree):
        ast.copy_location(node, at)
    return tree


def attribute(name: str) -> str:
    """The attribute of the module `__splint__` that stands in for a dotted name."""
    return name.replace(".", "_")


def _statement(node: ast.AST, rules: Rules, prefix: str) -> Iterator[ast.AST]:
    if isinstance(node, ast.Import) and any(rules.owns(a.name) for a in node.names):
        for alias in node.names:
            if rules.owns(alias.name):
                yield from _import(alias, node, prefix)
            else:
                yield ast.copy_location(ast.Import(names=[alias]), node)
        return
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        if rules.owns(node.module):
            node.module = f"{prefix}.{node.module}"
        else:
            for alias in [a for a in node.names if f"{node.module}.{a.name}" in rules.stand_ins]:
                node.names.remove(alias)
                name = attribute(f"{node.module}.{alias.name}")
                yield _from(f"{prefix}.{STAND_INS}", name, alias.asname or alias.name, node, alias)
            if not node.names:
                return
    yield node


def _import(alias: ast.alias, node: ast.Import, prefix: str) -> Iterator[ast.AST]:
    parent, _, leaf = alias.name.rpartition(".")
    top = alias.name.partition(".")[0]
    bound = alias.asname or top
    if parent:
        yield _from(f"{prefix}.{alias.name}", "__doc__", bound, node, alias)
    if alias.asname and parent:
        yield _from(f"{prefix}.{parent}", leaf, bound, node, alias)
    else:
        yield _from(prefix, top, bound, node, alias)


def _from(module: str, name: str, bound: str, node: ast.stmt, at: ast.alias) -> ast.AST:
    alias = ast.copy_location(ast.alias(name=name, asname=bound if bound != name else None), at)
    return ast.copy_location(ast.ImportFrom(module=module, names=[alias], level=0), node)
