"""One check of the audit: how a piece of process-wide state is read, and how it is put back."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, MutableMapping

Alters = Literal["never", "replaced", "always"]


class Absent(Enum):
    """The type of `ABSENT`."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
"""Stands for the value of a key that is not there."""
_VALUES: Final = (type(None), bool, int, float, complex, str, bytes, tuple, frozenset, dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One key of a check that has another value than before; `ABSENT` where it has none."""

    key: Any
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Check:
    """A piece of process-wide state.

    Attributes:
        name: What it is, for people.
        area: The part of the process it belongs to.
        module: It is read only if this module is loaded already; the functions get it.
        read: The state by key; a single value has the key "".
        put: Puts one key's value back; None where nothing can.
        alters: When a change of it changes results: "replaced" means only where something was there
            before.
        blame: None if a change is reported whoever made it. Otherwise regular expressions, with
            `{key}` in them, of which the old code's text must hold one where modules of others were
            loaded meanwhile: they may have made the change.
        spell: How the old code's text spells a key.
        fresh: The state of `module` just loaded, for where it was loaded only after the first look;
            None if that is not known.
        hidden: Whether values stay out of reports: they may be secrets.
        diff: Finds the changes; None compares key by key.
        get: One key's value in what `read` gave.
        again: Reads for a comparison what the state before has; None reads all as before.
        moves: Whether it changes all the time, so that it is put back whatever it is by then.
    """

    name: str
    area: str
    module: str
    read: Callable[[Any], Mapping[Any, Any]]
    put: Callable[[Any, Any, Any], object] | None = None
    alters: Alters = "never"
    blame: tuple[str, ...] | None = None
    spell: Callable[[Any], str] = str
    fresh: Mapping[Any, Any] | None = None
    hidden: bool = False
    diff: Callable[[Any, Any], Iterable[Change]] | None = None
    get: Callable[[Any, Any], Any] = lambda state, key: state.get(key, ABSENT)
    again: Callable[[Any], Mapping[Any, Any]] | None = None
    moves: bool = False

    def now(self, before: Mapping[Any, Any] | None = None) -> Mapping[Any, Any] | None:
        """The state as it is; None if the module is not loaded, or does not have it.

        Args:
            before: The state that it will be compared with, if with any.
        """
        module = sys.modules.get(self.module)
        if module is None:
            return None
        try:
            if before is not None and self.again is not None:
                return self.again(before)
            return self.read(module)
        except Exception:  # another version of the library has no such state: nothing to compare
            return None

    def changes(self, before: Mapping[Any, Any], after: Mapping[Any, Any]) -> list[Change]:
        """What differs."""
        if self.diff is not None:
            return list(self.diff(before, after))
        return list(differing(before, after))


def differing(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> Iterable[Change]:
    """The keys of two mappings whose values differ."""
    for key, old in before.items():
        new = after.get(key, ABSENT)
        if new is not old and not same(old, new):
            yield Change(key, old, new)
    for key, new in after.items():
        if key not in before:
            yield Change(key, ABSENT, new)


def same(a: Any, b: Any) -> bool:
    """Whether two values are one object, or equal plain data."""
    try:
        return a is b or (type(a) is type(b) and isinstance(a, _VALUES) and bool(a == b))
    except Exception:  # whatever the comparison of something inside raises, as arrays do
        return False


def setting(
    name: str,
    area: str,
    module: str,
    get: Callable[[Any], Any],
    put: Callable[[Any, Any], object] | None = None,
    **options: Any,
) -> Check:
    """A check of one value."""

    def put_back(module: Any, _: Any, value: Any) -> None:
        assert put is not None
        put(module, value)

    if "fresh" in options:
        options["fresh"] = {"": options["fresh"]}
    read = lambda module: {"": get(module)}  # noqa: E731
    return Check(name, area, module, read, put_back if put else None, **options)


def attributes(name: str, area: str, module: str, *paths: str, **options: Any) -> Check:
    """A check of attributes below a module, each set as it is read; those it lacks are left out."""

    def read(module: Any) -> dict[str, Any]:
        found = {path: _reach(module, path) for path in paths}
        return {path: value for path, value in found.items() if value is not ABSENT}

    def put(module: Any, path: str, value: Any) -> None:
        above, _, leaf = path.rpartition(".")
        holder = _reach(module, above) if above else module
        if value is ABSENT:
            delattr(holder, leaf)
        else:
            setattr(holder, leaf, value)

    return Check(name, area, module, read, put, **options)


def entries(
    name: str,
    area: str,
    module: str,
    mapping: Callable[[Any], MutableMapping[Any, Any]],
    **options: Any,
) -> Check:
    """A check of a registry: of each key and its value."""

    def put(module: Any, key: Any, value: Any) -> None:
        if value is ABSENT:
            mapping(module).pop(key, None)
        else:
            mapping(module)[key] = value

    return Check(name, area, module, lambda module: dict(mapping(module)), put, **options)


def _reach(found: Any, path: str) -> Any:
    for part in path.split("."):
        found = getattr(found, part, ABSENT)
    return found
