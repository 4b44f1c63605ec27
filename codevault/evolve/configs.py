"""Causes in the config: what the new classes take, against what was recorded and its defaults."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codevault.build import CurrentCode
from codevault.errors import CodeError
from codevault.evolve.description import Node, edited, edited_env, joined, nodes_of, references_of
from codevault.evolve.diagnosis import Cause
from codevault.evolve.fields import REQUIRED, Fields, fields_of, values_of
from codevault.evolve.likeness import likely_renames
from codevault.evolve.nearby import Sources, is_importable
from codevault.evolve.places import Found, Place
from codevault.evolve.sides import told
from codevault.evolve.values import flattened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from codevault.build import CodeVersion
    from codevault.evolve.sides import Side


@dataclass(frozen=True, slots=True)
class Configs:
    """What was found, and the description as the new code would take it.

    Attributes:
        found: The causes.
        description: The architecture with moved names followed, renamed fields renamed and removed
            ones left out; by this the new code is built where it refuses the recorded one.
        env: Likewise, the recorded environment.
        fields: How many fields were compared.
    """

    found: tuple[Found, ...]
    description: dict[str, Any]
    env: Any
    fields: int


def configs(old: Side, new: Side, description: dict[str, Any], env: Any) -> Configs:
    """Compares what the recorded architecture means on both sides; nothing is built."""
    found: list[Found] = []
    moved: dict[str, str] = {}
    read: dict[int, Sources] = {}

    def sources_of(code: CodeVersion) -> Sources:
        if id(code) not in read:
            read[id(code)] = Sources(code)
        return read[id(code)]

    for name in references_of(description, env):
        try:
            new.find(name)
        except Exception as error:
            cause, there = _lost(old, new, name, error, sources_of)
            found.append(cause)
            moved[name] = there
    changes: dict[str, Mapping[str, str | None]] = {}
    count = 0
    for node in nodes_of(description, env):
        if moved.get(node.name, node.name):
            at, change, compared = _node(old, new, node, moved.get(node.name, node.name))
            found += at
            changes[node.path] = change
            count += compared

    def edit(node: Node) -> Node:
        change = changes.get(node.path, {})
        kept = {n: v for n, v in node.given.items() if change.get(n, n) is not None}
        return dataclasses.replace(node, given={change.get(n) or n: v for n, v in kept.items()})

    def rename(name: str) -> str:
        return moved.get(name) or name

    return Configs(
        tuple(found), edited(description, edit, rename), edited_env(env, edit, rename), count
    )


def _lost(
    old: Side, new: Side, name: str, error: Exception, sources_of: Callable[[CodeVersion], Sources]
) -> tuple[Found, str]:
    """The cause of a name that the new code does not have, and where it stands now, if known."""
    place = _place_of(old, name)
    assert new.code is not None
    sources = sources_of(new.code)
    if not isinstance(error, CodeError) and sources.mentions(name):
        text = f"{name} cannot be imported: {told(error, new)}"
        # What the old code does not find either, no commit has brought.
        where = None if place is None else Place(())
        return Found(Cause("config", "raised", name, text, name, None), where), ""
    near = sources.elsewhere(name)
    if not near and old.code is not None:
        now = sources.renamed(sources_of(old.code), name)
        near = [] if now is None else [now]
    for there in near:
        if _has(new, there):
            text = f"{name} is now {there}?"
            return Found(Cause("config", "moved", name, text, name, there), place), there
    what = f"; one of its name stands in {near[0]}" if near else ""
    raised = "" if isinstance(error, CodeError) else f": {told(error, new)}"
    top = name.replace(":", ".").partition(".")[0]
    if isinstance(new.code, CurrentCode) and not is_importable(top):
        raised = f": this Python does not find {top}; --against DIR takes a folder that has it"
    text = f"{name} is not in the new code{what}{raised}"
    return Found(Cause("config", "gone", name, text, name, None), place), ""


def _has(side: Side, name: str) -> bool:
    try:
        side.find(name)
    except Exception:
        return False
    return True


def _place_of(old: Side, name: str) -> Place | None:
    try:
        target = old.find(name)
    except Exception:
        return None
    return Place((target,) if hasattr(target, "__qualname__") else (type(target),))


def _node(
    old: Side, new: Side, node: Node, name: str
) -> tuple[list[Found], dict[str, str | None], int]:
    target = new.find(name)
    theirs = fields_of(target)
    try:
        source = old.find(node.name)
    except Exception:
        source = None
    ours = fields_of(source) if source is not None else Fields({}, True)
    by_place = list(ours.defaults)[: len(node.args)]
    given = {**dict(zip(by_place, node.args, strict=False)), **node.given}
    here = Place(tuple(t for t in (source, target) if t is not None))
    gone = [
        n for n in dict.fromkeys([*ours.defaults, *given])
        if n not in theirs.defaults and not (theirs.takes_more and n in given)
    ]  # fmt: skip
    come = [n for n in theirs.defaults if n not in ours.defaults and n not in given]
    come = come if source is not None else [n for n in come if theirs.defaults[n] is REQUIRED]
    pairs = likely_renames(ours, theirs, gone, come)
    found: list[Found] = []
    for field, (other, why) in pairs.items():
        text = f"{joined(node.path, field)} is now {joined(node.path, other)}? ({why})"
        cause = Cause(
            "config", "renamed", joined(node.path, field), text, field, joined(node.path, other)
        )
        found.append(Found(cause, here.at(field, other)))
    for field in [n for n in gone if n not in pairs]:
        value = given[field] if field in given else _shown(ours.defaults[field], old)
        how = "was given" if field in given else "its default was"
        text = f"{joined(node.path, field)} is gone; {how} {_text(value)}"
        found.append(
            Found(Cause("config", "removed", joined(node.path, field), text, value), here.at(field))
        )
    for field in [n for n in come if n not in {other for other, _ in pairs.values()}]:
        found.append(Found(_added(theirs, field, node, new), here.at(field)))
    pairs_back = {other: field for field, (other, _) in pairs.items()}
    for field, default in theirs.defaults.items():
        before = pairs_back.get(field, field)
        if before in given or before not in ours.defaults or field == before in gone:
            continue
        found += _drifted(ours.defaults[before], default, joined(node.path, field), old, new, here)
    placed = set(by_place)
    change = {n: pairs[n][0] if n in pairs else None for n in gone if n in node.given}
    change = {n: to for n, to in change.items() if n not in placed}
    return found, change, len({*ours.defaults, *theirs.defaults})


def _added(theirs: Fields, field: str, node: Node, new: Side) -> Cause:
    name = joined(node.path, field)
    if theirs.defaults[field] is REQUIRED:
        return Cause("config", "required", name, f"{name} is new and must be given")
    value = _shown(theirs.defaults[field], new)
    return Cause(
        "config", "added", name, f"{name} is new; its default is {_text(value)}", None, value
    )


def _drifted(before: Any, after: Any, path: str, old: Side, new: Side, here: Place) -> list[Found]:
    """Other defaults, of nested configs too."""
    ours = dict(flattened(before, path, old.is_own))
    theirs = dict(flattened(after, path, new.is_own))
    found = []
    for name in dict.fromkeys([*ours, *theirs]):
        one, other = ours.get(name, REQUIRED), theirs.get(name, REQUIRED)
        if one is other or (one == other and type(one) is type(other)):
            continue
        text = f"{name} was not given; its default was {_text(one)}, and is {_text(other)}"
        was, now = (None if value is REQUIRED else value for value in (one, other))
        owners = [_owner(each, name.removeprefix(path)) for each in (before, after)]
        place = Place(tuple(o for o in owners if o) or here.targets, (_last(name),), stated=True)
        found.append(Found(Cause("config", "default", name, text, was, now), place))
    return found


def _owner(value: Any, path: str) -> type | None:
    """The class of the nested config that a value at a path stands in; None for the outermost."""
    for part in path.strip(".").split(".")[:-1]:
        value = getattr(value, part, None)
    return type(value) if path and values_of(value) is not None else None


def _last(path: str) -> str:
    return path.rpartition(".")[2].partition("[")[0]


def _shown(value: Any, side: Side) -> Any:
    if value is REQUIRED:
        return None
    found = dict(flattened(value, "", side.is_own))
    return found[""] if list(found) == [""] else found


def _text(value: Any) -> str:
    text = "nothing" if value is REQUIRED else repr(value)
    if isinstance(value, dict) and "$model" in value:
        text = f"{value['$model'].rpartition(':')[2]}(…)"
    elif isinstance(value, dict) and "" in value:  # a nested config, flattened
        text = f"{value['']}({', '.join(f'{n}={v!r}' for n, v in value.items() if n)})"
    return text if len(text) <= 60 else f"{text[:59]}…"
