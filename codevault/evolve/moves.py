"""What rules make of a state_dict: a new one, with every key accounted for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from codevault.errors import CodevaultError, StateDictError
from codevault.evolve.operations import initial, pieces
from codevault.evolve.patterns import Found, match, write

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from codevault.evolve.rules import Rule

ANEW: Final = "codevault migrate URI --suggest anew.toml"
"""What to do where a rule does not go with a checkpoint."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A state_dict on its way to newer code.

    Attributes:
        state: The tensors, by their keys in the newer code.
        origin: For each of them the old keys that it was made of; none where a rule filled it.
        dropped: Old keys that a rule dropped.
    """

    state: Mapping[str, torch.Tensor]
    origin: Mapping[str, tuple[str, ...]]
    dropped: tuple[str, ...] = ()


def unmoved(state: Mapping[str, torch.Tensor]) -> Moved:
    """A state_dict before any rule."""
    return Moved(dict(state), {key: (key,) for key in state})


def concerned(
    rules: Sequence[Rule], keys: Collection[str], target: Mapping[str, torch.Tensor]
) -> bool:
    """Whether any of these rules finds something to do; else they were applied already."""
    for rule in rules:
        if rule.verb == "fill":
            (pattern,) = rule.subject
            wanted = (*target, pattern) if "shape" in rule.told else target
            if any(match(pattern, key) and key not in keys for key in wanted):
                return True
        elif _finds(rule, keys) and not (rule.verb == "rename" and _is_deeper(rule, keys, target)):
            return True
    return False


def _finds(rule: Rule, keys: Collection[str]) -> bool:
    return any(match(pattern, key) for pattern in rule.old for key in keys)


def _is_deeper(rule: Rule, keys: Collection[str], target: Mapping[str, torch.Tensor]) -> bool:
    """Whether a rename into a module of its own, `actor` to `actor.mlp`, was done already.

    Its keys are found again then, as all that is left in that module, and nothing lies deeper.
    """
    (old,), (new,) = rule.subject, rule.new
    found = [(key, what) for key in keys if (what := match(old, key)) is not None]
    return all(match(new, key) for key, _ in found) and not any(
        write(new, what) in target for _, what in found
    )


def move(
    moved: Moved,
    rules: Sequence[Rule],
    target: Mapping[str, torch.Tensor],
    resolve: Callable[[str], Any],
) -> Moved:
    """Applies the rules of one file; nothing that was given is changed.

    Each key is taken by the first rule that names it, and no rule sees what another made. Keys that
    no rule takes stay.

    Args:
        moved: The weights so far.
        rules: The rules, in order.
        target: The state_dict of the newer code's policy, as its constructor leaves it: it has the
            shapes and dtypes of what is filled.
        resolve: Gives the function behind a name.

    Raises:
        StateDictError: A rule finds no key or another number than it says, two keys would become
            one, or a tensor has not the shape that a rule needs.
    """
    taken = _taken(moved.state, rules)
    claimed = {key for group in taken for key, _ in group}
    made: dict[str, tuple[tuple[str, ...], torch.Tensor]]
    made = {key: ((key,), tensor) for key, tensor in moved.state.items() if key not in claimed}
    dropped: list[str] = []
    for rule, group in zip(rules, taken, strict=True):
        if rule.verb == "fill":
            continue
        _check_hits(rule, len(group))
        if rule.verb == "drop":
            dropped += [key for key, _ in group]
            continue
        for sources, key, tensor in _made(rule, group, moved.state, resolve):
            if key in made:
                both = " and ".join(sorted({*made[key][0], *sources}))
                raise _refused(rule, f"gives {key}, which is there already: {both} would be one")
            made[key] = (sources, tensor)
    for rule in rules:
        if rule.verb == "fill":
            filled = _filled(rule, made, target)
            _check_hits(rule, len(filled))
            made |= {key: ((), tensor) for key, tensor in filled.items()}
    return Moved(
        {key: tensor for key, (_, tensor) in made.items()},
        {
            key: tuple(old for source in sources for old in moved.origin[source])
            for key, (sources, _) in made.items()
        },
        (*moved.dropped, *(old for key in dropped for old in moved.origin[key])),
    )


def _taken(
    state: Mapping[str, torch.Tensor], rules: Sequence[Rule]
) -> list[list[tuple[str, Found]]]:
    """For each rule the keys that it takes by its first pattern, and what that left open.

    The others of a `concat` are claimed with them.
    """
    groups: list[list[tuple[str, Found]]] = [[] for _ in rules]
    claims = [
        (number, pattern, place)
        for number, rule in enumerate(rules)
        if rule.verb != "fill"
        for place, pattern in enumerate(rule.old)
    ]
    for key in state:
        for number, pattern, _ in claims:
            found = match(pattern, key)
            if found is not None:
                groups[number].append((key, found))
                break
    return groups


def _made(
    rule: Rule,
    group: Sequence[tuple[str, Found]],
    state: Mapping[str, torch.Tensor],
    resolve: Callable[[str], Any],
) -> Iterator[tuple[tuple[str, ...], str, torch.Tensor]]:
    """Old keys, new key and tensor of all that a rule gives."""
    if rule.verb == "call":
        sources = tuple(key for key, _ in group)
        for key, tensor in _called(rule, {key: state[key] for key in sources}, resolve).items():
            yield sources, key, tensor
        return
    if rule.verb == "concat":
        yield from _concatenated(rule, group, state)
        return
    for key, found in group:
        try:
            parts = pieces(rule, state[key])
        except (RuntimeError, IndexError) as error:
            raise _refused(rule, f"does not fit {key} {list(state[key].shape)}: {error}") from error
        for pattern, tensor in zip(rule.new, parts, strict=True):
            yield (key,), write(pattern, found), tensor


def _concatenated(
    rule: Rule, group: Sequence[tuple[str, Found]], state: Mapping[str, torch.Tensor]
) -> Iterator[tuple[tuple[str, ...], str, torch.Tensor]]:
    taken = {key for key, _ in group}
    for found in dict.fromkeys(found for _, found in group):
        keys = tuple(write(pattern, found) for pattern in rule.old)
        if gone := [key for key in keys if key not in taken]:
            raise _refused(rule, f"lacks {', '.join(gone)}")
        try:
            joined = torch.cat([state[key] for key in keys], rule.told["dim"])
        except (RuntimeError, IndexError) as error:
            raise _refused(rule, f"cannot join {', '.join(keys)}: {error}") from error
        yield keys, write(rule.new[0], found), joined


def _called(
    rule: Rule, given: dict[str, torch.Tensor], resolve: Callable[[str], Any]
) -> dict[str, torch.Tensor]:
    name = rule.subject[0]
    try:
        function = resolve(name)
    except (CodevaultError, ImportError) as error:
        text = error.what if isinstance(error, CodevaultError) else str(error)
        raise _refused(rule, f"calls {name}, which cannot be had: {text}") from error
    try:
        result = function({key: tensor.clone() for key, tensor in given.items()})
    except Exception as error:
        why = f"calls {name}, which raised {type(error).__name__}: {error}"
        raise _refused(rule, why) from error
    if not isinstance(result, dict) or not all(
        isinstance(key, str) and isinstance(tensor, torch.Tensor) for key, tensor in result.items()
    ):
        raise _refused(rule, f"calls {name}, which gave no dict of tensors")
    return result


def _filled(
    rule: Rule, made: Mapping[str, Any], target: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    (pattern,) = rule.subject
    keys = [key for key in target if match(pattern, key) and key not in made]
    if not keys and "shape" in rule.told and "*" not in pattern and pattern not in made:
        keys = [pattern]
    try:
        return {key: initial(rule, target.get(key)) for key in keys}
    except RuntimeError as error:
        raise _refused(rule, f"cannot fill {', '.join(keys)}: {error}") from error


def _check_hits(rule: Rule, number: int) -> None:
    if not number or rule.hits not in (None, number):
        wanted = "" if rule.hits is None else f", and says hits = {rule.hits}"
        raise _refused(rule, f"{rule.verb} {', '.join(rule.subject)} takes {number} keys{wanted}")


def _refused(rule: Rule, why: str) -> StateDictError:
    return StateDictError(f"{rule.place} does not go with this checkpoint", why, ANEW)
