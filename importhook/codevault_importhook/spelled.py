"""Finds where a module makes text of `__module__`: there classes have their original names.

`f"{cls.__module__}.{cls.__qualname__}"`, its spellings with `+`, `%`, `format` and `join`, and the
values of a dict display. Everywhere else, in comparisons and look-ups say, `__module__` is what it
is; so is what names a logger, since loggers of two versions must not be one.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOGGERS: Final = frozenset({"getLogger", "getChild", "get_logger", "get_tracer"})


def spelled(node: ast.AST) -> Iterator[ast.Attribute]:
    """The expressions `….__module__` that become part of the text that `node` makes."""
    for part in _parts(node):
        if isinstance(part, ast.Attribute) and part.attr == "__module__":
            yield part


def of_logger(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in the name of a logger, if `node` asks for one."""
    if isinstance(node, ast.Call) and _called(node) in _LOGGERS:
        for argument in node.args:
            yield from ast.walk(argument)


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def _parts(node: ast.AST) -> Iterator[ast.AST]:
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
