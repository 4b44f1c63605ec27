"""The description of an architecture as data: the classes it names, and edits of what they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Node:
    """One class or function that a description calls.

    Attributes:
        path: Where it stands: empty for the policy's own, `encoder` for an argument of that name.
        name: Its class path, as recorded.
        given: What is given by name, as data.
        args: What is given by position, as data.
    """

    path: str
    name: str
    given: Mapping[str, Any]
    args: Sequence[Any] = ()


Edit = Callable[[Node], Node]
Rename = Callable[[str], str]


def nodes_of(description: Mapping[str, Any], env: Any = None) -> list[Node]:
    """All nodes of a description, and of the environment that was recorded with it."""
    found: list[Node] = []

    def note(node: Node) -> Node:
        found.append(node)
        return node

    edited(description, note, str)
    _edited(env, "env", note, str)
    return found[::-1]


def references_of(description: Mapping[str, Any], env: Any = None) -> list[str]:
    """All names of classes, functions and enum members, each once, in order."""
    found: dict[str, None] = {}

    def note(name: str) -> str:
        found[name] = None
        return name

    edited(description, lambda node: node, note)
    _edited(env, "env", lambda node: node, note)
    return list(found)


def edited(description: Mapping[str, Any], edit: Edit, rename: Rename) -> dict[str, Any]:
    """The description with each node, and each name, replaced.

    Args:
        description: As a checkpoint has it.
        edit: Gives what shall stand for a node; inner nodes come before outer ones.
        rename: Gives what shall stand for a name.
    """
    name = rename(description["class_path"])
    if "fields" in description:
        node = edit(Node("", name, _children(description["fields"], "", edit, rename)))
        return {"class_path": node.name, "fields": dict(node.given)}
    args = [
        _edited(v, f"args[{i}]", edit, rename) for i, v in enumerate(description.get("args", ()))
    ]
    given = _children(description.get("kwargs", {}), "", edit, rename)
    node = edit(Node("", name, given, args))
    return {"class_path": node.name, "args": list(node.args), "kwargs": dict(node.given)}


def edited_env(env: Any, edit: Edit, rename: Rename) -> Any:
    """As `edited`, of a recorded environment."""
    return _edited(env, "env", edit, rename)


def _edited(data: Any, path: str, edit: Edit, rename: Rename) -> Any:
    if isinstance(data, list):
        return [_edited(value, f"{path}[{i}]", edit, rename) for i, value in enumerate(data)]
    if not isinstance(data, dict):
        return data
    match data:
        case {"$ref": str(name)}:
            return {"$ref": rename(name)}
        case {"$tuple": items}:
            return {"$tuple": _edited(items, path, edit, rename)}
        case {"$dict": pairs}:
            return {"$dict": _edited(pairs, path, edit, rename)}
        case {"$model": str(name), "fields": dict(fields)}:
            node = edit(Node(path, rename(name), _children(fields, path, edit, rename)))
            return {"$model": node.name, "fields": dict(node.given)}
    return _children(data, path, edit, rename)


def _children(fields: Mapping[str, Any], path: str, edit: Edit, rename: Rename) -> dict[str, Any]:
    return {
        name: _edited(value, joined(path, name), edit, rename) for name, value in fields.items()
    }


def joined(path: str, name: str) -> str:
    """The path of what has this name below a path."""
    return f"{path}.{name}" if path else name
