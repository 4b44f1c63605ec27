"""What a module's source defines: its names, and the attributes that its classes give instances."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WITH_WEIGHTS: Final = frozenset(
    {
        "Linear",
        "Bilinear",
        "Conv1d",
        "Conv2d",
        "Conv3d",
        "ConvTranspose1d",
        "ConvTranspose2d",
        "ConvTranspose3d",
        "LSTM",
        "GRU",
        "RNN",
        "LSTMCell",
        "GRUCell",
        "RNNCell",
        "Embedding",
        "EmbeddingBag",
        "MultiheadAttention",
        "LayerNorm",
        "BatchNorm1d",
        "BatchNorm2d",
        "BatchNorm3d",
        "GroupNorm",
        "Parameter",
    }
)
"""Calls of torch.nn whose result has weights whatever its arguments (but for `affine=False`)."""


@dataclass(frozen=True, slots=True)
class ClassSource:
    """One class, as its source shows it.

    Attributes:
        bases: Its bases, as dotted names of this module's scope.
        attributes: Names that it gives its instances somewhere: assignments to `self.x`, class
            attributes, annotations, names that it registers by text.
        always: Those that `__init__` assigns whatever happens before it ends.
        weights: Of those, the ones that surely hold weights.
        parameters: Names of the arguments of `__init__`.
        calls_super: Whether `__init__` runs the one of its bases.
        own_state: Whether it says itself what of it is pickled.
    """

    bases: tuple[str, ...] = ()
    attributes: frozenset[str] = frozenset()
    always: frozenset[str] = frozenset()
    weights: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()
    calls_super: bool = True
    own_state: bool = False


@dataclass(frozen=True, slots=True)
class ModuleSource:
    """One module, as its source shows it.

    Attributes:
        classes: Its classes, by qualified name.
        names: Other names that it binds at its top.
        imports: Names that it imports, and the dotted name that each stands for; relative ones
            begin with dots.
        stars: Modules of which it imports everything.
    """

    classes: Mapping[str, ClassSource] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    imports: Mapping[str, str] = field(default_factory=dict)
    stars: tuple[str, ...] = ()


def read_source(content: bytes) -> ModuleSource:
    """Reads a module's source; one that is no Python defines nothing."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ModuleSource()
    classes: dict[str, ClassSource] = {}
    names: set[str] = set()
    imports: dict[str, str] = {}
    stars: list[str] = []
    waiting: list[tuple[ast.AST, str]] = [(node, "") for node in reversed(tree.body)]
    while waiting:
        node, outer = waiting.pop()
        if isinstance(node, ast.ClassDef):
            classes[f"{outer}{node.name}"] = _class(node)
            waiting += [(part, f"{outer}{node.name}.") for part in node.body]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(f"{outer}{node.name}")
        elif isinstance(node, ast.Import):
            for a in node.names:
                imports[a.asname or a.name.partition(".")[0]] = (
                    a.name if a.asname else a.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            stars += [base for a in node.names if a.name == "*"]
            joint = "" if base.endswith(".") else "."
            imports |= {a.asname or a.name: f"{base}{joint}{a.name}" for a in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            names |= {f"{outer}{name}" for name in _stored(node)}
        elif isinstance(node, ast.If | ast.Try | ast.With):
            waiting += [(part, outer) for part in ast.iter_child_nodes(node)]
        elif isinstance(node, ast.ExceptHandler):
            waiting += [(part, outer) for part in node.body]
    return ModuleSource(classes, frozenset(names), imports, tuple(stars))


def _stored(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id


def _class(node: ast.ClassDef) -> ClassSource:
    attributes: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
            if isinstance(part.value, ast.Name) and part.value.id == "self":
                attributes.add(part.attr)
        elif isinstance(part, ast.Call):
            attributes |= _registered(part)
    made: set[str] = set()
    for statement in node.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            attributes |= set(_stored(statement))
        elif isinstance(statement, ast.FunctionDef) and statement.decorator_list:
            made.add(statement.name)  # a property, perhaps: no instance holds it
    inits = [p for p in node.body if isinstance(p, ast.FunctionDef) and p.name == "__init__"]
    init = inits[-1] if inits else None
    always: set[str] = set()
    weights: set[str] = set()
    if init is not None:
        for name, value in _certain(init.body):
            if name not in made:
                always.add(name)
                weights |= {name} if _has_weights(value) else set()
    arguments = () if init is None else (*init.args.posonlyargs, *init.args.args[1:])
    only = () if init is None else init.args.kwonlyargs
    return ClassSource(
        tuple(name for base in node.bases if (name := dotted(base))),
        frozenset(attributes),
        frozenset(always),
        frozenset(weights),
        frozenset(a.arg for a in (*arguments, *only)),
        init is None or "__init__" in ast.dump(ast.Module(init.body, [])),
        any(isinstance(p, ast.FunctionDef) and p.name == "__getstate__" for p in node.body),
    )


def _registered(call: ast.Call) -> set[str]:
    """Names that `add_module`, `register_buffer` and the like, and `setattr`, are given as text."""
    function = call.func
    named = function.attr if isinstance(function, ast.Attribute) else ""
    at = 0 if named.startswith(("register_", "add_module")) else None
    if isinstance(function, ast.Name) and function.id == "setattr":
        at = 1
    if at is None or len(call.args) <= at:
        return set()
    given = call.args[at]
    text = given.value if isinstance(given, ast.Constant) else None
    return {text} if isinstance(text, str) else set()


def _certain(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr | None]]:
    """Assignments to `self.x` at the top of a function, up to where it may have returned."""
    for node in body:
        if any(isinstance(part, ast.Return) for part in ast.walk(node)):
            return
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        for target in targets:
            inner = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
            for one in inner:
                if isinstance(one, ast.Attribute) and dotted(one.value) == "self":
                    value = node.value if one is target else None  # type: ignore[attr-defined]
                    yield one.attr, value


def _has_weights(value: ast.expr | None) -> bool:
    if not isinstance(value, ast.Call) or any(k.arg == "affine" for k in value.keywords):
        return False
    return dotted(value.func).rpartition(".")[2] in _WITH_WEIGHTS


def dotted(node: ast.expr) -> str:
    """A chain of names as text; "" for anything else, and for what is subscripted its base."""
    if isinstance(node, ast.Subscript):
        return dotted(node.value)
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""
