"""What import statements do not show: classes by name or `isinstance`, and imports by string."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WATCHED: Final = {"sys": {"modules"}, "pickle": {"load", "loads", "Unpickler"}}
_CALLED: Final = frozenset({"exec", "eval", "__import__"})
_BY_NAME: Final = frozenset(
    {
        "importlib.import_module",
        "builtins.__import__",
        "importlib.util.find_spec",
        "pkgutil.resolve_name",
        "hydra.utils.get_class",
        "hydra.utils.get_method",
        "hydra.utils.instantiate",
    }
)
_DOTTED: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?::[A-Za-z_][\w.]*)?")


class Place(NamedTuple):
    """Something that one line of a module does.

    Attributes:
        line: The line, from 1.
        what: What is named or done there.
    """

    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What one module does besides importing.

    Attributes:
        classes: Names of the classes that it defines at its top.
        names: Dotted names that its own names stand for, by import.
        compared: Dotted names of classes by which it tells kinds of objects apart.
        spelled: Texts that it compares with the name of an object's class.
        texts: Texts that could name something: `pkg.mod.Class`, `pkg.mod:Class`.
        unfollowed: Ways to modules that the import hook does not follow in old code.
        unseen: Imports by a text that is only known when it runs.
    """

    classes: frozenset[str]
    names: Mapping[str, str]
    compared: tuple[Place, ...]
    spelled: tuple[Place, ...]
    texts: tuple[Place, ...]
    unfollowed: tuple[Place, ...]
    unseen: tuple[Place, ...]


def reading(source: bytes, package: str) -> Reading:
    """Reads a module; one that is no Python does nothing.

    Args:
        source: Its bytes.
        package: The package that its relative imports start from.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return Reading(frozenset(), {}, (), (), (), (), ())
    nodes = list(ast.walk(tree))
    names: dict[str, str] = {}
    for node in nodes:
        names |= _bound(node, package)
    docs = _docstrings(nodes)
    texts = [
        Place(node.lineno, node.value)
        for node in nodes
        if isinstance(node, ast.Constant)
        and id(node) not in docs
        and isinstance(node.value, str)
        and "." in node.value
        and _DOTTED.fullmatch(node.value)
    ]
    return Reading(
        frozenset(node.name for node in tree.body if isinstance(node, ast.ClassDef)),
        names,
        tuple(place for node in nodes for place in _compared(node, names)),
        tuple(place for node in nodes for place in _spelled(node, names)),
        tuple(texts),
        tuple(place for node in nodes for place in _unfollowed(node, names)),
        tuple(place for node in nodes for place in _unseen(node, names)),
    )


def _bound(node: ast.AST, package: str) -> dict[str, str]:
    if isinstance(node, ast.Import):
        return {
            a.asname or a.name.partition(".")[0]: a.name if a.asname else a.name.partition(".")[0]
            for a in node.names
        }
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = package.split(".")
            base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
        return {a.asname or a.name: f"{base}.{a.name}" for a in node.names if a.name != "*"}
    return {}


def _docstrings(nodes: list[ast.AST]) -> set[int]:
    bodies = [n.body for n in nodes if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
    first = [body[0] for body in bodies if body]
    return {id(node.value) for node in first if isinstance(node, ast.Expr)}


def meaning(node: ast.AST, names: Mapping[str, str]) -> str:
    """The dotted name that an expression stands for; "" for anything else."""
    if isinstance(node, ast.Name):
        return names.get(node.id, f"builtins.{node.id}")
    if isinstance(node, ast.Attribute):
        inner = meaning(node.value, names)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def _compared(node: ast.AST, names: Mapping[str, str]) -> Iterator[Place]:
    """Classes by which code tells kinds of objects apart: `isinstance`, `type(x) is`, `case`."""
    given: list[ast.expr] = []
    if isinstance(node, ast.Call) and len(node.args) == 2:
        if meaning(node.func, names) in ("builtins.isinstance", "builtins.issubclass"):
            given = _elements(node.args[1])
    elif isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        if any(_is_type(side, names) for side in sides):
            given = [each for side in sides for each in _elements(side)]
    elif isinstance(node, ast.MatchClass):
        given = [node.cls]
    for each in given:
        for part in _members(each):
            if (name := meaning(part, names)) and not name.startswith("builtins."):
                yield Place(each.lineno, name)


def _spelled(node: ast.AST, names: Mapping[str, str]) -> Iterator[Place]:
    """Texts that are compared with the name of an object's class."""
    if not isinstance(node, ast.Compare):
        return
    sides = [node.left, *node.comparators]
    named = (s for s in sides if isinstance(s, ast.Attribute))
    if any(s.attr in ("__name__", "__qualname__") and _is_type(s.value, names) for s in named):
        for each in (each for side in sides for each in _elements(side)):
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                yield Place(each.lineno, each.value)


def _is_type(node: ast.expr, names: Mapping[str, str]) -> bool:
    """Whether an expression is the class of something: `type(x)`, `x.__class__`."""
    if isinstance(node, ast.Call):
        return len(node.args) == 1 and meaning(node.func, names) == "builtins.type"
    return isinstance(node, ast.Attribute) and node.attr == "__class__"


def _elements(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]


def _members(node: ast.expr) -> Iterator[ast.expr]:
    """The members of `A | B`."""
    if isinstance(node, ast.BinOp):
        yield from _members(node.left)
        yield from _members(node.right)
    else:
        yield node


def _unfollowed(node: ast.AST, names: Mapping[str, str]) -> Iterator[Place]:
    """Uses of `sys.modules`, `pickle`, `exec` and the like that reading does not show as such."""
    if isinstance(node, ast.ImportFrom) and node.module in _WATCHED:
        if any(a.name == "*" for a in node.names):
            yield Place(node.lineno, f"from {node.module} import *")
    elif isinstance(node, ast.Call):
        called = meaning(node.func, names)
        if called == "builtins.getattr" and len(node.args) >= 2:
            module = meaning(node.args[0], names)
            wanted = _WATCHED.get(module, set())
            text = node.args[1].value if isinstance(node.args[1], ast.Constant) else None
            if wanted and (text is None or text in wanted):
                yield Place(
                    node.lineno, f"getattr({module}, {'...' if text is None else repr(text)})"
                )
        elif called.removeprefix("builtins.") in _CALLED and any(
            isinstance(argument, ast.Starred) for argument in node.args[:1]
        ):
            yield Place(node.lineno, f"{called.removeprefix('builtins.')}(*...)")
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            name = meaning(argument, names)
            if name in _WATCHED and called != "builtins.getattr":
                yield Place(node.lineno, f"the module {name} as an argument")
            elif name.removeprefix("builtins.") in _CALLED and name.startswith("builtins."):
                yield Place(node.lineno, f"{name.removeprefix('builtins.')} as an argument")


def _unseen(node: ast.AST, names: Mapping[str, str]) -> Iterator[Place]:
    if not isinstance(node, ast.Call) or not node.args:
        return
    called = meaning(node.func, names)
    if called not in _BY_NAME:
        return
    first = node.args[0]
    if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
        yield Place(node.lineno, f"{called.removeprefix('builtins.')}({ast.unparse(first)[:60]})")
