"""How an old file says that its policy is built, and what its code makes of that."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import codevault_importhook as hook
from codevault.build import call, own, policy_of, required
from codevault.errors import BuildError, CaptureError

if TYPE_CHECKING:
    from codevault import architecture as arch
    from codevault.splint import Splint


@dataclass(frozen=True, slots=True)
class Recipe:
    """A class and its arguments, as plain data.

    Attributes:
        class_path: `pkg.mod.Class` or `pkg.mod:Class`, by its original name.
        arguments: Keyword arguments, or the fields of a description.
        spec: The text `pkg.mod.Class(key=literal, ...)` where the file has one; what its class
            makes of that text counts, not the other two.
    """

    class_path: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    spec: str = ""


def from_spec(text: str, where: str) -> Recipe:
    """Reads `pkg.mod.Class(key=literal, ...)`; nothing is evaluated but literals.

    Raises:
        BuildError: It is no such text.
    """
    text = text.strip()
    try:
        parsed = ast.parse(text, mode="eval").body
        function = parsed.func if isinstance(parsed, ast.Call) else parsed
        if isinstance(parsed, ast.Call) and (
            parsed.args or None in {k.arg for k in parsed.keywords}
        ):
            raise ValueError("its arguments are not all given by keyword")
        keywords = parsed.keywords if isinstance(parsed, ast.Call) else []
        arguments = {str(k.arg): ast.literal_eval(k.value) for k in keywords}
        return Recipe(_dotted(function), arguments, text)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise BuildError(
            f"{where} has an architecture that cannot be read",
            f"{error}: {text[:80]!a}",
            "name it with --class and --arg",
        ) from None


def architecture(recipe: Recipe, splint: Splint, env: Any) -> Any:
    """The architecture as `save_policy` takes it, made by the old code's own classes.

    Args:
        recipe: What the file says.
        splint: The code.
        env: The environment description, for a class that takes one first; or None.

    Returns:
        An instance of the description's class, or a mapping of `class_path` and `kwargs`.

    Raises:
        CodeError: The class is not in the code, or not its own.
        BuildError: It does not take the arguments.
    """
    with splint.resolving():
        cls = own(splint, recipe.class_path)
        if hasattr(cls, "from_spec") and recipe.spec:
            return cls.from_spec(recipe.spec)
        if hasattr(cls, "model_validate"):
            default = _default(cls)
            fields = {
                name: _models(value, getattr(default, name, None), splint)
                for name, value in recipe.arguments.items()
            }
            try:
                return cls.model_validate(fields)
            except ValueError as error:
                raise BuildError(f"{recipe.class_path} refuses its fields", str(error)) from error
    kwargs = dict(recipe.arguments)
    if env is not None:
        missing = [name for name in required(cls) if name not in kwargs]
        kwargs |= {missing[0]: env} if missing else {}
    return {"class_path": cls, "kwargs": kwargs}


def build(architecture: Any, splint: Splint, env: Any) -> Any:
    """The policy of an architecture that `architecture` gave, without its weights.

    Raises:
        BuildError: Its class does not take the arguments, or it needs an environment.
    """
    with splint.resolving():
        if not isinstance(architecture, Mapping):
            name = type(architecture).__qualname__
            return policy_of(architecture, env, name)
        cls = architecture["class_path"]
        made = call(cls, (), dict(architecture["kwargs"]), cls.__qualname__)
        return policy_of(made, env, cls.__qualname__)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    raise ValueError("it does not begin with a dotted name")


def _models(value: Any, default: Any, splint: Splint) -> Any:
    """A field in which mappings that name their class, or whose default has one, become models."""
    if isinstance(value, list):
        defaults = default if isinstance(default, list) else []
        padded = [*defaults, *[None] * len(value)]
        return [_models(v, d, splint) for v, d in zip(value, padded, strict=False)]
    if not isinstance(value, Mapping):
        return value
    path = value.get("class_path")
    cls = own(splint, path) if isinstance(path, str) else type(default)
    if not hasattr(cls, "model_validate"):
        return value
    rest = {key: part for key, part in value.items() if key != "class_path" or not path}
    return cls.model_validate(rest)


def _default(cls: Any) -> Any:
    """An instance with the defaults of the class; None if it has fields without one."""
    try:
        return cls()
    except (TypeError, ValueError):
        return None


def namer(splint: Splint) -> arch.NameOf:
    """Names the code's own classes and functions; raises CaptureError for others."""

    def name_of(thing: Any, where: str) -> str:
        home = getattr(thing, "__module__", None)
        if not isinstance(home, str) or not splint.defines(home) or "<" in thing.__qualname__:
            raise CaptureError(f"{where} is not the code's own")
        return f"{hook.strip(home)}:{thing.__qualname__}"

    return name_of
