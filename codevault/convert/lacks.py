"""What neither an old file nor its user says, and the whole line that says it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from codevault import architecture as arch
from codevault import fileforms
from codevault.build import own
from codevault.convert import spaces
from codevault.errors import ConvertError
from codevault.oldforms import OldFile, Recipe

if TYPE_CHECKING:
    from codevault.convert.parent import Unpickled
    from codevault.convert.request import Request
    from codevault.splint import Splint

_TENSORS: Final = ("torch.", "collections.", "numpy.", "builtins.", "_codecs.")
"""What a file of nothing but tensors and plain data looks up."""


def complete(request: Request, old: OldFile, names: tuple[str, ...]) -> None:
    """Raises ConvertError with the whole line for all that neither file nor user says."""
    more: list[str] = []
    lacks = []
    if request.repo is None:
        lacks.append("which code it runs")
        more += ["--repo", "URL_OR_PATH", "--commit", "SHA"]
    tensors = old.form == fileforms.SAFETENSORS or all(name.startswith(_TENSORS) for name in names)
    if request.class_path is None and old.recipe is None and old.form != fileforms.SB3 and tensors:
        lacks.append("which class takes its weights")
        more += ["--class", "pkg.mod:Class"]
    if request.probe is None and old.form != fileforms.SB3:
        lacks.append("observations for a probe")
        more += ["--probe", "OBS"]
    if lacks:
        raise ConvertError(
            f"{request.old} is {old.form}, and does not say everything",
            f"missing: {', '.join(lacks)}",
            request.line(*more),
        )


def recipe(request: Request, old: OldFile, found: Unpickled, splint: Splint) -> Recipe:
    """How the policy is built: what the user says, then the file, then the object's attributes.

    Raises:
        ConvertError: None of them says it; names the whole line.
    """

    def decoded(data: Any, where: str) -> Any:
        return arch.decode(data, lambda name: own(splint, name), where)

    given = {name: decoded(data, f"--arg {name}") for name, data in request.arguments.items()}
    if request.class_path is not None:
        return Recipe(request.class_path, given)
    if old.recipe is not None:
        if given and old.recipe.spec:
            raise ConvertError(
                f"{request.old} states all arguments itself",
                f"so that --arg {next(iter(given))} cannot be added",
                request.line("--class", old.recipe.class_path),
            )
        return replace(old.recipe, arguments={**old.recipe.arguments, **given})
    if "arguments" in found.facts:
        said = decoded(found.facts["arguments"], "data")
        return Recipe(spaces.CLASS, said | given)
    guess = found.facts.get("guess")
    if guess is None:
        raise ConvertError(
            f"{request.old} holds weights, and does not say which class takes them",
            _shapes(found),
            request.line("--class", "pkg.mod:Class"),
        )
    if guess["missing"]:
        more = [word for name in guess["missing"] for word in ("--arg", f"{name}=JSON")]
        raise ConvertError(
            f"{guess['class_path']} has arguments that nothing in the file tells",
            f"missing: {', '.join(guess['missing'])}; {_shapes(found)}",
            request.line("--class", guess["class_path"], *more),
        )
    guessed = {name: decoded(data, name) for name, data in guess["arguments"].items()}
    return Recipe(guess["class_path"], guessed | given)


def _shapes(found: Unpickled) -> str:
    shapes = [f"{name} {list(tensor.shape)}" for name, tensor in found.state.items()]
    return f"its weights: {', '.join(shapes[:6])}" + (", ..." if len(shapes) > 6 else "")
