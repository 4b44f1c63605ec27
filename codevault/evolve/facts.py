"""What a source says of a name: the part of it that a cause is read from, whatever its place."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def definition(source: bytes, qualname: str) -> Definition | ast.Module | None:
    """The class or function of that name in a source; None if there is none, or no Python.

    An empty name stands for the whole source.
    """
    try:
        node: ast.AST = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None
    for part in qualname.split(".") if qualname else ():
        body: Iterable[ast.AST] = getattr(node, "body", ())
        inner = [child for child in body if getattr(child, "name", None) == part]
        found = [child for child in inner if isinstance(child, Definition)]
        if not found:
            return None
        node = found[-1]
    return node if isinstance(node, Definition | ast.Module) else None


def said(node: Definition | ast.Module, names: Sequence[str]) -> str:
    """What a definition says of some names; of none, all that it says.

    Parameters with their defaults, fields, and what is assigned to `self.<name>` or registered
    under that name. Comments, docstrings of others and places do not count.
    """
    if not names:
        return ast.dump(node)
    return "\n".join(sorted(text for name in names for text in _said(node, name)))


def shows(text: str, value: Any) -> bool:
    """Whether a value, or a class or function of its name, stands in what `said` gave."""
    name = str(value).rpartition(".")[2] if isinstance(value, str) else ""
    needles = [f"value={value!r})", *([f"='{name}'"] if name.isidentifier() else [])]
    return any(needle in text for needle in needles)


def _said(node: Definition | ast.Module, name: str) -> Iterator[str]:
    for function in ast.walk(node):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            if function is node or function.name == "__init__":
                yield from _parameters(function, name)
        elif isinstance(function, ast.Assign | ast.AnnAssign | ast.AugAssign):
            yield from _assigned(function, name)
        elif isinstance(function, ast.Call):
            texts = [a.value for a in function.args if isinstance(a, ast.Constant)]
            if isinstance(function.func, ast.Attribute) and name in texts:
                yield ast.dump(function)


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Iterator[str]:
    given = function.args
    several = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [None] * (len(several) - len(given.defaults))
    pairs = [
        *zip(several, [*defaults, *given.defaults], strict=True),
        *zip(given.kwonlyargs, given.kw_defaults, strict=True),
    ]
    for argument, default in pairs:
        if argument.arg == name:
            yield f"parameter {name} = {'' if default is None else ast.dump(default)}"


def _assigned(statement: ast.Assign | ast.AnnAssign | ast.AugAssign, name: str) -> Iterator[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    flat = [part for target in targets for part in ast.walk(target)]
    names = {part.attr for part in flat if isinstance(part, ast.Attribute)}
    names |= {part.id for part in flat if isinstance(part, ast.Name)}
    if name in names:
        yield f"{name} = {'' if statement.value is None else ast.dump(statement.value)}"
