"""The text of a suggested rules file."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from codevault.evolve.edits import reaches
from codevault.evolve.generalise import gathered, generalised
from codevault.manifest import escaped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from codevault.evolve.diagnosis import Cause
    from codevault.evolve.match import Match
    from codevault.evolve.places import Found
    from codevault.restoring import Plan

_MOST: Final = 4
"""How many candidates of a question are written."""


@dataclass(frozen=True, slots=True)
class Config:
    """What is built so far, causes in the config, and the repository's rules files before."""

    plan: Plan
    found: Sequence[Found]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Weights:
    """What is known of the keys.

    Attributes:
        match: Which became which, and what is asked.
        taken: What the probe decided.
        fills: New keys whose value the constructor decides without random numbers.
        open: Other new keys.
        squeezed: Old key to new key, where only dimensions of one element came or went.
        resized: Old keys that only a key of their name and another shape could be.
        homeless: Old keys without a place of which nothing shows that they may go.
        before: All old weights.
        after: The newer policy's state_dict.
    """

    match: Match
    taken: Mapping[str, str]
    fills: Sequence[str]
    open: Sequence[str]
    squeezed: Mapping[str, str]
    resized: Sequence[str]
    homeless: Sequence[str]
    before: Mapping[str, torch.Tensor]
    after: Mapping[str, torch.Tensor]


def rules_text(head: str, note: str, config: Config, weights: Weights | None) -> str:
    """A rules file: what is known as rules, what is not as comments.

    Args:
        head: Which checkpoint it moves to which code.
        note: How far it goes.
        config: What is built.
        weights: What is known of the keys; None if the newer code builds nothing.
    """
    lines = [f"# {escaped(head)}", *(f"# {escaped(line)}" for line in note.splitlines()), ""]
    lines += [f"after = {json.dumps(config.after)}", ""] if config.after else []
    text = "\n".join(lines) + config_text(config)
    return text if weights is None else text + _weights_text(weights)


def config_text(config: Config) -> str:
    """`[names]`, `[architecture]` and `[env]`; a guess says so, and the probe judges it."""
    names: list[str] = []
    tables: dict[str, dict[str, list[str]]] = {"architecture": {}, "env": {}}
    notes: dict[str, list[str]] = defaultdict(list)
    for cause in (found.cause for found in config.found):
        in_env = cause.name == "env" or cause.name.startswith("env.")
        table = "env" if in_env else "architecture"
        path = cause.name.removeprefix("env.") if in_env else cause.name
        match cause.kind:
            case "moved":
                names.append(f"{_quoted(cause.old)} = {_quoted(cause.new)}  # a guess by its name")
            case "gone":
                names.append(f"# OPEN: {escaped(_one(cause.text))}")
                names.append(f'# {_quoted(cause.old)} = "pkg.mod:Class"')
            case "renamed":
                new = str(cause.new).removeprefix("env.") if in_env else cause.new
                entry = f"{_quoted(path)} = {_quoted(new)}"
                tables[table].setdefault("rename", []).append(entry)
                notes[table].append(f"a guess: {cause.text}")
            case "removed":
                tables[table].setdefault("remove", []).append(_quoted(path))
                notes[table].append(cause.text)
            case "default" if _is_there(config, table, path) and (value := _value(cause.old)):
                tables[table].setdefault("set", []).append(f"{_quoted(path)} = {value}")
                notes[table].append(cause.text)
            case _:
                notes[table].append(f"{_open(cause)}{cause.text}")
    lines = ["[names]", *names, ""] if names else []
    for table, entries in tables.items():
        if entries or notes[table]:
            lines += [f"[{table}]", *(f"# {escaped(_one(text))}" for text in notes[table])]
            for edit, parts in entries.items():
                joined = ", ".join(parts)
                lines.append(
                    f"{edit} = " + (f"[{joined}]" if edit == "remove" else f"{{ {joined} }}")
                )
            lines.append("")
    return "\n".join(lines) + ("\n" if lines else "")


def _is_there(config: Config, table: str, path: str) -> bool:
    """Whether what would hold the value at a path is recorded, so that an edit can reach it."""
    description = config.plan.description
    recorded = description.get("fields") or description.get("kwargs") or {}
    return reaches(config.plan.env if table == "env" else recorded, path)


def _open(cause: Cause) -> str:
    return "OPEN: " if cause.kind == "required" else ""


def _weights_text(found: Weights) -> str:
    known: dict[str, str | None] = dict.fromkeys(found.before)
    known |= found.match.automatic
    known |= found.taken
    lines: list[str] = []
    for rule in generalised(known):
        said = [key for key in rule.keys if key in found.taken]
        lines += ["# the probe decided between candidates"] if said else []
        lines += _rule(rename=rule.old, to=rule.new, hits=len(rule.keys))
    for old, new in found.squeezed.items():
        to = {} if old == new else {"to": new}
        lines += _rule(reshape=old, shape=list(found.after[new].shape), **to)
    for pattern, keys in gathered(found.homeless, found.before).items():
        number = f"{len(keys)} key{'s' * (len(keys) != 1)}"
        more = f" and all in it, {number}," if keys != [pattern] else ""
        lines += [f"# OPEN: {pattern}{more} has no place in the newer code; nothing shows"]
        lines += ["# that it is not needed. A rule that takes it where it belongs, or:"]
        lines += _commented(_rule(drop=pattern, hits=len(keys)))
    unneeded = [key for key in found.match.dropped if key not in found.homeless]
    for pattern, keys in gathered(unneeded, found.before).items():
        lines += ["# the probe agrees without it", *_rule(drop=pattern, hits=len(keys))]
    for key in found.resized:
        shapes = [list(tensors[key].shape) for tensors in (found.before, found.after)]
        lines += [
            f"# OPEN: {key} is {shapes[0]}, and {shapes[1]} in the newer code: arguments that"
        ]
        lines += ["# make it what it was, a `call` that knows what became of it, or both of these:"]
        lines += _commented([*_rule(drop=key), *_rule(fill=key, **{"with": "zeros"})])
    for key in found.fills:
        lines += ["# new; two constructions under other seeds gave the same"]
        lines += _rule(fill=key, **{"with": "constructor"})
    for key in found.open:
        shape = list(found.after[key].shape)
        lines += [f"# OPEN: {key} {shape} is new, and its constructor draws it at random"]
        lines += _commented(_rule(fill=key, **{"with": "zeros"}))
    for old, candidates in found.match.asked.items():
        if old in found.taken or old in found.squeezed or old in found.resized:
            continue
        lines += [f"# OPEN: which of these is {old}?", "# [[rule]]", f"# rename = {_quoted(old)}"]
        for candidate in candidates[:_MOST]:
            evidence = ", ".join(candidate.evidence) or "its shape"
            lines.append(f"# to = {_quoted(candidate.key)}  # {evidence}")
        lines += [f"# ... and {len(candidates) - _MOST} more"] if len(candidates) > _MOST else []
        lines.append("")
    return "\n".join(lines)


def _rule(**said: Any) -> list[str]:
    return ["[[rule]]", *(f"{key} = {json.dumps(value)}" for key, value in said.items()), ""]


def _commented(lines: Sequence[str]) -> list[str]:
    return [f"# {line}" if line else "" for line in lines]


def _quoted(text: Any) -> str:
    return json.dumps(str(text))


def _one(text: str) -> str:
    return " ".join(text.split())


def _value(value: Any) -> str | None:
    """A value in TOML; None where it has no word for it."""
    if isinstance(value, bool | str):
        return json.dumps(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list) and all(isinstance(v, bool | int | float | str) for v in value):
        return json.dumps(value)
    return None
