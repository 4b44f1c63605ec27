"""What rules make of an architecture and of an environment description; both are plain data."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from codevault.errors import BuildError, CodevaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from codevault.evolve.rules import Edits, Rules


def edited(
    description: Mapping[str, Any], rules: Rules, resolve: Callable[[str], Any]
) -> dict[str, Any]:
    """An architecture with the names and edits of a rules file; applied twice it stays the same.

    Args:
        description: What `architecture.describe` gave; it is not changed.
        rules: The file.
        resolve: Gives the function behind a name.

    Raises:
        BuildError: An edit names what is not there, or would overwrite something.
    """
    made: dict[str, Any] = renamed(description, rules.names)
    made["class_path"] = name_of(made["class_path"], rules.names)
    part = "fields" if "fields" in made else "kwargs"
    edits = rules.architecture
    result = _called(_with(made, part, edits), edits, resolve)
    if not isinstance(result, dict) or not isinstance(result.get("class_path"), str):
        raise _refused(edits, f"calls {edits.call}, which gave no architecture")
    return result


def edited_env(env: Any, rules: Rules, resolve: Callable[[str], Any]) -> Any:
    """A recorded environment description likewise; None stays None.

    Raises:
        BuildError: As for `edited`.
    """
    if env is None:
        return None
    made = {"env": renamed(env, rules.names)}
    return _called(_with(made, "env", rules.env)["env"], rules.env, resolve)


def name_of(name: str, names: Mapping[str, str]) -> str:
    """What became of `pkg.mod:Class`; the longest old name counts that it is, or is in."""
    for old in sorted(names, key=len, reverse=True):
        if _is_in(name, old):
            new = names[old]
            # A module that moved into a package of its old name must not move again.
            return name if _is_in(new, old) and _is_in(name, new) else new + name[len(old) :]
    return name


def renamed(data: Any, names: Mapping[str, str]) -> Any:
    """A copy of plain data whose models and references have the new names."""
    if isinstance(data, list):
        return [renamed(value, names) for value in data]
    if not isinstance(data, dict):
        return data
    return {
        key: name_of(value, names)
        if key in ("$model", "$ref") and isinstance(value, str)
        else renamed(value, names)
        for key, value in data.items()
    }


def reaches(data: Any, path: str) -> bool:
    """Whether what would hold the value at a path of named arguments is there."""
    holder = _inside(data)
    for name in _names(path)[:-1]:
        holder = _below(holder, name)
    return isinstance(holder, dict)


def _is_in(name: str, outer: str) -> bool:
    return name == outer or name.startswith((f"{outer}.", f"{outer}:"))


def _with(made: dict[str, Any], part: str, edits: Edits) -> dict[str, Any]:
    """`made` with changes of its entry `part`; paths start there."""
    holder = _inside(made.setdefault(part, {}))
    for old, new in edits.rename.items():
        value, there = _value(holder, old), _value(holder, new)
        if value is _NONE:
            continue
        if there is not _NONE:
            raise _refused(edits, f"renames {old} to {new}, and both are there")
        _folder(holder, old, edits).pop(_last(old))
        _folder(holder, new, edits)[_last(new)] = value
    for path in edits.remove:
        if _value(holder, path) is not _NONE:
            _folder(holder, path, edits).pop(_last(path))
    for path, value in edits.put.items():
        _folder(holder, path, edits)[_last(path)] = copy.deepcopy(value)
    if part == "kwargs" and not made[part]:
        del made[part]  # as it is written where there are none
    return made


def _called(made: Any, edits: Edits, resolve: Callable[[str], Any]) -> Any:
    if edits.call is None:
        return made
    try:
        function = resolve(edits.call)
    except (CodevaultError, ImportError) as error:
        text = error.what if isinstance(error, CodevaultError) else str(error)
        raise _refused(edits, f"calls {edits.call}, which cannot be had: {text}") from error
    try:
        return function(made)
    except Exception as error:
        why = f"calls {edits.call}, which raised {type(error).__name__}: {error}"
        raise _refused(edits, why) from error


_NONE = object()


def _inside(value: Any) -> Any:
    """The named values of a mapping or of an encoded model."""
    return value["fields"] if isinstance(value, dict) and "$model" in value else value


def _names(path: str) -> list[str]:
    return path.replace("[", ".").replace("]", "").split(".")


def _below(holder: Any, name: str) -> Any:
    """What stands at a name, or at a number of a list."""
    if isinstance(holder, list) and name.isdecimal() and int(name) < len(holder):
        return _inside(holder[int(name)])
    return _inside(holder[name]) if isinstance(holder, dict) and name in holder else _NONE


def _value(holder: Any, path: str) -> Any:
    *outer, last = _names(path)
    for name in outer:
        holder = _below(holder, name)
    return holder.get(last, _NONE) if isinstance(holder, dict) else _NONE


def _folder(holder: Any, path: str, edits: Edits) -> dict[str, Any]:
    for name in _names(path)[:-1]:
        holder = _below(holder, name)
        if holder is _NONE:
            raise _refused(edits, f"has the path {path}, and there is no {name} with names in it")
    if not isinstance(holder, dict):
        raise _refused(edits, f"has the path {path}, which ends in no table of names")
    return holder


def _last(path: str) -> str:
    return _names(path)[-1]


def _refused(edits: Edits, why: str) -> BuildError:
    return BuildError(
        f"{edits.place} does not go with this checkpoint", why, "codevault show URI  # what it has"
    )
