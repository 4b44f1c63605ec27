"""Keys that names and shapes leave open, and what the probe says of them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from codevault.evolve.candidates import Candidate

Places = Mapping[str, str]
"""Old key to new key."""
Agrees = Callable[[Places, Collection[str]], bool]
"""Whether the policy reproduces the recorded outputs with keys assigned so, if the values of some
old keys are changed."""
_TRIALS: Final = 64
"""How many assignments are replayed, for each way to group keys."""
_CHECKS: Final = 600
"""How many exchanges of two modules are replayed to see whether the probe notices."""
_NUMBER: Final = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the probe said.

    Attributes:
        taken: Old key to new key, where the probe agrees and notices any exchange.
        text: What was found, for people.
    """

    taken: Places
    text: str


def answered(asked: Mapping[str, Sequence[Candidate]], agrees: Agrees) -> Answer:
    """Tries the candidates of asked keys, the best first, and looks which the probe singles out.

    Keys of one module move together; at first so do modules whose names differ in numbers alone.

    Args:
        asked: Old key to its candidates, as `match_state_dicts` gives them.
        agrees: Replays the probe.
    """
    trials = 0
    for stem in (_template, _module):
        groups = _groups(asked, stem)
        for places in islice(_assignments(groups), _TRIALS):
            trials += 1
            if agrees(places, ()):
                taken = _noticed(asked, places, agrees)
                left = len(asked) - len(taken)
                more = f"; it does not tell {left} others apart" if left else ""
                text = f"of {trials} assignments tried, one agrees"
                return Answer(taken, f"{text}; the probe singles out {len(taken)} keys{more}")
    return Answer({}, f"none of {trials} assignments tried agrees")


def _noticed(
    asked: Mapping[str, Sequence[Candidate]], places: Places, agrees: Agrees
) -> dict[str, str]:
    """The keys of modules whose exchange with any other, or change of value, the probe notices."""
    modules: dict[str, list[str]] = defaultdict(list)
    for key in asked:
        modules[_module(key)].append(key)
    doubted: set[str] = set()
    exchanged: set[str] = set()
    pairs = (
        (one, other, swapped)
        for one, other in combinations(modules, 2)
        if (swapped := _swapped(asked, places, modules[one], modules[other])) is not None
    )
    for number, (one, other, swapped) in enumerate(pairs):
        if number >= _CHECKS or agrees(swapped, ()):
            doubted |= {one, other}
        exchanged |= {one, other}
    for module, keys in modules.items():
        if module not in exchanged and agrees(places, keys):
            doubted.add(module)
    return {key: places[key] for key in asked if _module(key) not in doubted}


def _swapped(
    asked: Mapping[str, Sequence[Candidate]],
    places: Places,
    one: Sequence[str],
    other: Sequence[str],
) -> Places | None:
    """The assignment with two modules exchanged, if each key may take the other's place."""
    ours = {_leaf(key): key for key in one}
    theirs = {_leaf(key): key for key in other}
    if ours.keys() != theirs.keys():
        return None
    swapped = dict(places)
    for leaf, key in ours.items():
        swapped[key], swapped[theirs[leaf]] = places[theirs[leaf]], places[key]
    allowed = all(swapped[key] in {c.key for c in asked[key]} for key in (*one, *other))
    return swapped if allowed else None


def _groups(
    asked: Mapping[str, Sequence[Candidate]], stem: Callable[[str], str]
) -> list[list[Places]]:
    """For each group of keys that move together its choices, the best first."""
    members: dict[str, list[str]] = defaultdict(list)
    for key in asked:
        members[stem(key)].append(key)
    return [_choices(keys, asked, stem) for keys in members.values()]


def _choices(
    keys: Sequence[str], asked: Mapping[str, Sequence[Candidate]], stem: Callable[[str], str]
) -> list[Places]:
    stems = dict.fromkeys(stem(c.key) for key in keys for c in asked[key])
    found: list[Places] = []
    for goal in stems:
        made: dict[str, str] = {}
        for key in keys:
            free = [c.key for c in asked[key] if stem(c.key) == goal]
            free = [new for new in free if new not in made.values()]
            free.sort(key=partial(_unlike, key))
            made |= {key: free[0]} if free else {}
        if len(made) == len(keys):
            found.append(made)
    return found


def _unlike(old: str, new: str) -> tuple[bool, bool]:
    return _leaf(old) != _leaf(new), _NUMBER.findall(old) != _NUMBER.findall(new)


def _assignments(groups: Sequence[Sequence[Places]]) -> Iterator[Places]:
    """All ways to give each group one of its choices without using a new key twice."""

    def below(number: int, made: Places) -> Iterator[Places]:
        if number == len(groups):
            yield made
            return
        taken = set(made.values())
        for choice in groups[number]:
            if taken.isdisjoint(choice.values()):
                yield from below(number + 1, {**made, **choice})

    return below(0, {})


def _module(key: str) -> str:
    return key.rpartition(".")[0]


def _template(key: str) -> str:
    return _NUMBER.sub("#", _module(key))


def _leaf(key: str) -> str:
    return key.rpartition(".")[2]
