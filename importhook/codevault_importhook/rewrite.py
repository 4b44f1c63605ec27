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

from codevault_importhook.moduletexts import of_logger, spelled
from codevault_importhook.processlock import changing
from codevault_importhook.scopes import SCOPES, WRAPPED, Names, attribute_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

    from codevault_importhook.scopes import Scope

VERSION: Final = 8
"""Part of the key under which compiled code is kept: a change of the rules changes it."""

STAND_INS: Final = "__splint__"
"""The module, directly below the splint, that holds what stands in for other names."""

NAMED: Final = "object.__module__"
"""What the `__module__` of something goes through where it becomes part of a text."""

HANDED: Final = "object.__getattribute__"
"""What reads an attribute of a module that another module handed on: it may have a stand-in."""


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
        with changing():
            limit = sys.getrecursionlimit()
            sys.setrecursionlimit(3 * limit)
            try:
                return compile(tree, filename, mode, flags, True, optimize)  # type: ignore[call-overload]
            finally:
                sys.setrecursionlimit(limit)


def rewrite(tree: ast.AST, rules: Rules, prefix: str, handed: frozenset[str] = frozenset()) -> None:
    """Changes imports, and uses of what has a stand-in, in place.

    Nodes are visited with a list, not by recursion: generated code nests deeply.

    Args:
        tree: Of a module, or of a text that is run.
        rules: Of the mount.
        prefix: The splint's name.
        handed: Modules that the tree may have from the namespace in which it runs.
    """
    known = Names(tree, rules.stand_ins, handed)
    waiting = [(tree, known.module())]
    wrapped: list[tuple[ast.Call, str]] = []
    named: set[ast.AST] = set()
    kept: set[ast.AST] = set()
    called: set[ast.AST] = set()

    def changed(node: Any, scope: Scope) -> ast.expr | None:
        """What takes the place of `node`; None if it stays. What stays, also inside, waits."""
        if node in named and node not in kept:
            waiting.append((node, scope))
            return _call(NAMED, [node], node, prefix)
        new = None if node in called else _replacement(node, known, scope, prefix)
        if new is None and isinstance(node, ast.AST):
            waiting.append((node, scope))
        return new

    while waiting:
        node, scope = waiting.pop()
        if NAMED in rules.stand_ins:
            named.update(spelled(node, scope.modules))
        kept.update(of_logger(node))
        if isinstance(node, ast.Call) and node.args and not isinstance(node.args[0], ast.Starred):
            name = known.wrapped(node.func, scope)
            if name is not None:
                wrapped.append((node, name))
                called.add(node.func)
        inner = known.within(node, scope) if isinstance(node, SCOPES) else scope
        for field, value in ast.iter_fields(node):
            within = inner if field == "body" else scope
            if isinstance(value, list):
                if any(isinstance(child, ast.Import | ast.ImportFrom) for child in value):
                    value[:] = [new for old in value for new in _statement(old, rules, prefix)]
                for place, child in enumerate(value):
                    if (new := changed(child, within)) is not None:
                        value[place] = new
            elif (new := changed(value, within)) is not None:
                setattr(node, field, new)
    for call, name in wrapped:
        call.args[0] = _call(name, [call.args[0]], call, prefix)


def _replacement(node: object, known: Names, scope: Scope, prefix: str) -> ast.expr | None:
    """What takes the place of an expression that reads something with a stand-in."""
    if (name := known.stand_in(node, scope)) is not None:
        assert isinstance(node, ast.expr)
        return _stand_in(name, node, prefix)
    if (name := known.handed(node, scope)) is None:
        return None
    assert isinstance(node, ast.expr)
    module = node
    while (read := attribute_of(module)) is not None:
        module = read[0]
    arguments = [module, ast.copy_location(ast.Constant(name), node)]
    return _call(HANDED, arguments, node, prefix)


def _call(name: str, arguments: list[ast.expr], at: ast.expr, prefix: str) -> ast.expr:
    return ast.copy_location(ast.Call(_stand_in(name, at, prefix), arguments, []), at)


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
            replaced = rules.stand_ins - WRAPPED
            for alias in [a for a in node.names if f"{node.module}.{a.name}" in replaced]:
                node.names.remove(alias)
                name = attribute(f"{node.module}.{alias.name}")
                yield _from(f"{prefix}.{STAND_INS}", name, alias.asname or alias.name, node, alias)
            if not node.names:
                return
    yield node


def _import(alias: ast.alias, node: ast.Import, prefix: str) -> Iterator[ast.AST]:
    top = alias.name.partition(".")[0]
    if top != alias.name and not alias.asname:
        yield _from(f"{prefix}.{alias.name}", "__doc__", top, node, alias)
    # With `from prefix import top` the import system looks for a submodule each time.
    name = f"{prefix}.{alias.name if alias.asname else top}"
    renamed = ast.copy_location(ast.alias(name=name, asname=alias.asname or top), alias)
    yield ast.copy_location(ast.Import(names=[renamed]), node)


def _from(module: str, name: str, bound: str, node: ast.stmt, at: ast.alias) -> ast.AST:
    alias = ast.copy_location(ast.alias(name=name, asname=bound if bound != name else None), at)
    return ast.copy_location(ast.ImportFrom(module=module, names=[alias], level=0), node)
