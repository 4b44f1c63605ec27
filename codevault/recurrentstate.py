"""What a later step of a probe takes over from what the policy returned at the step before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codevault.tensortree import is_tensordict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def filled(
    given: Sequence[Any], first: Sequence[Mapping[str, Any]], returned: Any, step: int
) -> list[Any]:
    """The arguments of a step; what it leaves out of the first step's comes from `returned`.

    Positional arguments are taken from the end of a returned tuple: `out, state = policy(obs,
    state)`. Entries of a dict or TensorDict are taken from the returned one, below `"next"` if it
    has that.

    Args:
        given: The step's own arguments.
        first: Nodes of the first step's arguments.
        returned: What the policy returned at the step before.
        step: The step's number, for the message.

    Raises:
        ValueError: An argument is left out, and the policy returned nothing that could be it.
    """
    arguments = list(given)
    for argument, node in zip(arguments, first, strict=False):
        if isinstance(argument, dict) or is_tensordict(argument):
            _fill(argument, node, returned)
    lacking = len(first) - len(arguments)
    if lacking <= 0:
        return arguments
    if not isinstance(returned, tuple) or len(returned) <= lacking:
        raise ValueError(
            f"step {step} has {len(arguments)} of {len(first)} arguments, and the policy returned "
            f"a {type(returned).__qualname__} that does not end in the rest"
        )
    return [*arguments, *returned[-lacking:]]


def _fill(argument: Any, node: Mapping[str, Any], returned: Any) -> None:
    if not (isinstance(returned, dict) or is_tensordict(returned)):
        return
    sources = [returned]
    if "next" in returned.keys():  # noqa: SIM118 -- a TensorDict iterates rows
        sources.insert(0, returned["next"])
    for key in node.get("keys", ()):
        if key in argument.keys():  # noqa: SIM118
            continue
        for source in sources:
            if (isinstance(source, dict) or is_tensordict(source)) and key in source.keys():  # noqa: SIM118
                argument[key] = source[key]
                break
