"""Builds the policy that an architecture describes, from one version of the code."""

from __future__ import annotations

import importlib
import inspect
import weakref
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Protocol

from codevault import architecture as arch
from codevault.errors import BuildError, CodeError

if TYPE_CHECKING:
    from collections.abc import Sequence


_OTHER: Final = "codevault.load_policy(uri)  # its own code takes them"


class CodeVersion(Protocol):
    """A version of the code: a splint, or the host's current modules."""

    def load_symbol(self, path: str) -> Any:
        """The object behind a name."""

    def defines(self, module: str) -> bool:
        """Whether a module of that name (as loaded) is this code's own, or shared."""

    def resolving(self) -> AbstractContextManager[None]:
        """Lets strings mean this version."""


class CurrentCode:
    """The host's own modules, limited to what a checkpoint calls its own, or shared.

    That is the checkpoint's word: only one that is granted itself gets here.

    Attributes:
        tops: The top-level names that it calls its own.
        shared: Dotted prefixes of what it calls shared.
    """

    def __init__(self, names: Sequence[str], shared: Sequence[str] = ()) -> None:
        self.tops = frozenset(name.partition(".")[0] for name in names)
        self.shared = tuple(shared)

    def load_symbol(self, path: str) -> Any:
        """The host's object of that name.

        Raises:
            CodeError: The name is not one of the checkpoint's own, or the host does not have it.
        """
        module, _, attributes = path.partition(":") if ":" in path else path.rpartition(".")
        if not self.defines(module):
            raise CodeError(
                f"{path!r} is not a name of the checkpoint's own code",
                f"its own top-level names are {', '.join(sorted(self.tops)) or 'none'}, and shared "
                f"is {', '.join(self.shared) or 'nothing'}",
                'load_policy(uri, code="pinned")',
            )
        try:
            found: Any = importlib.import_module(module)
            for attribute in attributes.split("."):
                found = getattr(found, attribute)
        except (ModuleNotFoundError, AttributeError) as error:
            hint = "codevault.load_policy(uri)  # runs it with its own code"
            raise CodeError(f"the current code has no {path!r}", str(error), hint) from error
        return found

    def defines(self, module: str) -> bool:
        """Whether the module's top-level name is one of the checkpoint's own, or it is shared."""
        own = module.partition(".")[0] in self.tops
        return own or any(f"{module}.".startswith(f"{prefix}.") for prefix in self.shared)

    def resolving(self) -> AbstractContextManager[None]:
        """Strings mean the host's modules anyway."""
        return nullcontext()


def build(description: dict[str, Any], code: CodeVersion, env: Any) -> Any:
    """The policy, with the weights that its constructor gives it.

    Args:
        description: What `architecture.describe` gave.
        code: Where class paths and references are looked up.
        env: The environment description, handed to `make_policy(env)` or to a parameter `env`.

    Raises:
        BuildError: An argument is refused, or an environment is needed and there is none.
        CodeError: A name is not in the code.
    """
    path = description["class_path"]

    def find(name: str) -> Any:
        return own(code, name)

    with code.resolving():
        target = find(path)
        if "fields" in description:
            made = arch.decode(
                {"$model": path, "fields": description["fields"]}, find, "architecture"
            )
        else:
            args = arch.decode(description.get("args", []), find, "args")
            kwargs = arch.decode(description.get("kwargs", {}), find, "kwargs")
            if env is not None and _takes_env(target, args, kwargs):
                kwargs["env"] = env
            made = call(target, args, kwargs, path)
        return policy_of(made, env, path)


def policy_of(made: Any, env: Any, path: str) -> Any:
    """What an architecture's class gave, or the policy that it makes if it is a description.

    Raises:
        BuildError: It needs an environment, and there is none.
    """
    make_policy = getattr(made, "make_policy", None)
    if make_policy is None:
        return made
    needs = required(make_policy)
    if env is None and needs:
        raise BuildError(
            f"{path} needs an environment description to make its policy, and there is none",
            f"make_policy takes {needs[0]!r}, and the checkpoint recorded no env",
            "codevault.load_policy(uri, env=...)",
        )
    return make_policy(env) if env is not None else make_policy()


def check_kept(policy: Any, path: str) -> None:
    """Sees to it that what was built can hold weights, and that its origin can be remembered.

    Raises:
        BuildError: It is no policy.
    """
    try:
        weakref.ref(policy)
        policy.load_state_dict  # noqa: B018
    except (TypeError, AttributeError) as error:
        raise BuildError(
            f"{path} gave a {type(policy).__qualname__}, which is no policy",
            str(error),
            "name a class or function that gives a torch.nn.Module",
        ) from None


def environment(recorded: Any, code: CodeVersion) -> Any:
    """The environment description that a manifest recorded, as an object of `code`'s classes."""
    return arch.decode(recorded, lambda name: own(code, name), "env")


def own(code: CodeVersion, path: str) -> Any:
    """A class, function or enum member that the code itself defines.

    What its modules merely import is not reached: `pkg.mod:os.system` would run a stranger's words.

    Raises:
        CodeError: It is defined elsewhere.
    """
    found = code.load_symbol(path)
    home = getattr(found if callable(found) else type(found), "__module__", None)
    if not isinstance(home, str) or not code.defines(home):
        raise CodeError(
            f"{path!r} is not defined by the checkpoint's own code",
            f"it is a {type(found).__qualname__} of {home}, and a checkpoint may name only its own "
            "and shared classes and functions",
            "codevault show URI",
        )
    return found


def call(target: Any, args: Sequence[Any], kwargs: dict[str, Any], path: str) -> Any:
    """Calls a class or function; `path` is its name, for messages.

    Raises:
        BuildError: It is none, or does not take these arguments.
    """
    if not callable(target):
        raise BuildError(f"class_path {path!r} names no class or function", repr(type(target)), "")
    try:
        inspect.signature(target).bind(*args, **kwargs)
    except TypeError as error:
        hint = "codevault.load_policy(uri, env=...)" if "'env'" in str(error) else _OTHER
        raise BuildError(f"{path} does not take the recorded arguments", str(error), hint) from None
    except ValueError:
        pass  # no signature to be had: let the call decide
    return target(*args, **kwargs)


def _takes_env(target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    try:
        signature = inspect.signature(target)
        bound = signature.bind_partial(*args, **kwargs)
    except (TypeError, ValueError):
        return False
    parameter = signature.parameters.get("env")
    return parameter is not None and "env" not in bound.arguments


def required(function: Any) -> list[str]:
    """The parameters that a call by position must give."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.kind in kinds and p.default is p.empty
    ]
