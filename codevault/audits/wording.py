"""How findings are worded, and where a value comes from: by its code rather than by its names."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from codevault.audits.check import ABSENT, Change, Check, same
from codevault_importhook import strip
from codevault_importhook.naming import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SHOWN: Final = 5
_WIDTH: Final = 60


def homes_of(value: Any) -> list[str]:
    """The modules whose code a value runs: `functools.wraps` hides none of them."""
    found: list[str] = []
    if value is ABSENT or hasattr(type(value), "audit_text"):
        return found
    for _ in range(8):
        if isinstance(value, functools.partial):
            value = value.func
        elif isinstance(value, property):
            value = value.fget
        value = getattr(value, "__func__", value)  # a bound method, staticmethod or classmethod
        space = getattr(value, "__globals__", None)
        if isinstance(space, dict):
            name = space.get("__name__")
        elif isinstance(value, ModuleType):
            name = value.__name__
        else:
            name = getattr(value, "__module__", None) or type(value).__module__
        if isinstance(name, str) and name != "builtins":
            found.append(name)
        inner = getattr(value, "__wrapped__", None)
        if inner is None:
            break
        value = inner
    return found


def is_own(thing: Any) -> bool:
    """Whether a class or function is a snapshot's."""
    return str(getattr(thing, "__module__", "")).startswith(PREFIX)


def home_of(value: Any) -> str | None:
    """The module of a value's outermost code; None for plain data and builtins."""
    return next(iter(homes_of(value)), None)


def describe(check: Check, changes: Sequence[Change]) -> tuple[str, str]:
    """The text of what was there, and of what is there now."""
    if check.hidden:
        words = [(_key(c.key), c.before is ABSENT, c.after is ABSENT) for c in changes]
        before = _joined([f"{key} not set" if new else f"{key} set" for key, new, _ in words])
        gone = {(True, False): "set", (False, True): "removed", (False, False): "changed"}
        return before, _joined([f"{key} {gone[new, old]}" for key, new, old in words])
    pairs = [_pair(change) for change in changes]
    return _joined([old for old, _ in pairs]), _joined([new for _, new in pairs])


def _pair(change: Change) -> tuple[str, str]:
    old, new = change.before, change.after
    if isinstance(old, tuple | frozenset) and type(old) is type(new) and len(old) != len(new):
        lost, won = _without(old, new), _without(new, old)
        texts = (_items(lost), _items(won))
    else:
        texts = (_value(old), _value(new))
    key = _key(change.key)
    return (f"{key}: {texts[0]}", f"{key}: {texts[1]}") if key else texts


def _without(items: Iterable[Any], others: Iterable[Any]) -> list[Any]:
    known = list(others)
    return [item for item in items if not any(same(item, other) for other in known)]


def _items(items: Sequence[Any]) -> str:
    return _joined([_value(item) for item in items]) or "nothing"


def _joined(texts: Sequence[str]) -> str:
    more = f", and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def _key(key: Any) -> str:
    if isinstance(key, tuple):
        return ".".join(map(_key, key))
    return key if isinstance(key, str) else _value(key)


def _value(value: Any) -> str:
    """Short, and never what an object says of itself: that may be long, slow or secret."""
    if value is ABSENT:
        return "none"
    if isinstance(value, bool | int | float | str | bytes | type(None)):
        text = repr(value) if not isinstance(value, str) else value
    elif isinstance(value, tuple | frozenset):
        text = f"({', '.join(_value(item) for item in value)})"
    elif isinstance(value, ModuleType):
        text = strip(value.__name__)
    elif callable(value) and hasattr(value, "__qualname__"):
        text = f"{strip(home_of(value) or 'builtins')}.{value.__qualname__}"
    else:
        text = getattr(value, "audit_text", None) or f"a {type(value).__qualname__}"
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
