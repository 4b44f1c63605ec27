"""Finds where a module makes text of `__module__`: there classes have their original names.

`f"{cls.__module__}.{cls.__qualname__}"`, its spellings with `+`, `%`, `format` and `join`, and the
values of a dict display; also by a variable that was given the `__module__` of something before.
Everywhere else, in comparisons and look-ups say, `__module__` is what it is; so is what names a
logger, since loggers of two versions must not be one.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOGGERS: Final = frozenset({"getLogger", "getChild", "get_logger", "get_tracer"})


def spelled(node: ast.AST, variables: frozenset[str]) -> Iterator[ast.expr]:
    """The expressions that name a module, of those that become part of the text `node` makes.

    Args:
        node: Any node.
        variables: The names that `given` found around it.
    """
    for part in _parts(node):
        if _names_module(part, variables):
            yield part


def given(node: ast.AST) -> Iterator[str]:
    """The variables that `node` gives the `__module__` of something."""
    if isinstance(node, ast.Assign):
        pairs = [(target, node.value) for target in node.targets]
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
        pairs = [(node.target, node.value)]
    else:
        return
    for target, value in pairs:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs += zip(target.elts, value.elts, strict=False)
        elif isinstance(target, ast.Name) and _names_module(value):
            yield target.id


def _names_module(node: ast.expr, variables: frozenset[str] = frozenset()) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "__module__"
    if isinstance(node, ast.Name):
        return node.id in variables
    if isinstance(node, ast.BoolOp):
        return any(_names_module(value, variables) for value in node.values)
    if isinstance(node, ast.IfExp):
        return any(_names_module(value, variables) for value in (node.body, node.orelse))
    if isinstance(node, ast.Call) and _called(node) == "getattr" and len(node.args) > 1:
        asked = node.args[1]
        return isinstance(asked, ast.Constant) and asked.value == "__module__"
    return False


def of_logger(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in the name of a logger, if `node` asks for one."""
    if isinstance(node, ast.Call) and _called(node) in _LOGGERS:
        for argument in node.args:
            yield from ast.walk(argument)


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def _parts(node: ast.AST) -> Iterator[ast.expr]:
    """What of `node`'s own parts its text is made of."""
    if isinstance(node, ast.FormattedValue):
        yield node.value
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from (node.left, node.right)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        yield from _elements(node.right)
    elif isinstance(node, ast.Call) and _called(node) in ("format", "join"):
        for argument in node.args:
            yield from _elements(argument)
        yield from (keyword.value for keyword in node.keywords)
    elif isinstance(node, ast.Dict):
        yield from node.values


def _elements(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple | ast.List) else [node]
