"""Puts a guard before each function of the table: the registries of libraries, once loaded.

    dotted name of a function or method → what a call of it claims

A guard passes a call on unless somebody else holds the place and a snapshot takes part.
"""

from __future__ import annotations

import functools
import sys
import threading
import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import codevault_importhook as hook
from codevault.errors import CodevaultWarning
from codevault.registries import ledger
from codevault.registries.registrant import OURS, is_for_itself, outside, registering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import FrameType

    from codevault.registries.ledger import Claim

    Read = Callable[..., Iterable[Claim]]


@dataclass(frozen=True, slots=True)
class Rule:
    """How a function registers.

    Attributes:
        read: Gives the claims of a call; it takes the call's arguments.
        slot: Where the registered function stands among the arguments of one that is a decorator
            without it; None for other functions.
        levels: The parameter that counts stack frames, if there is one.
    """

    read: Read
    slot: int | None = None
    levels: str | None = None


@dataclass(frozen=True, slots=True)
class Library:
    """A registry's functions.

    Attributes:
        module: The module that defines them.
        within: Modules through which calls of them pass, on behalf of whoever calls those.
        rules: Gives the rules, by dotted name inside the module; called when it is loaded.
    """

    module: str
    within: tuple[str, ...]
    rules: Callable[[Any], Mapping[str, Rule]]


def install() -> None:
    """Guards the registries of loaded libraries, and of others once they load; once is enough."""
    if _installed:
        return
    from codevault.registries import table

    hook.prepare()  # what is loaded later is seen by the hook's finder
    replaced: _Replaced = {}
    for library in table.LIBRARIES:
        _installed.append(library)
        hook.when_loaded(library.module, functools.partial(_guard, library, replaced))
    _replace(replaced)


_installed: list[Library] = []
_lock = threading.RLock()
"""Held from the look into a registry until its change. Libraries that register for themselves, as
modules do that a registry imports meanwhile, never take it."""
_Replaced = dict[str, list[tuple[object, object]]]
"""By name, the functions that were replaced, each with its guarded form."""


def _guard(library: Library, replaced: _Replaced, module: ModuleType) -> None:
    try:
        rules = library.rules(module)
    except (AttributeError, ImportError) as error:
        warnings.warn(
            f"this version of {library.module} keeps its registry in another way ({error}): "
            "registrations of two versions may replace each other there",
            CodevaultWarning,
            stacklevel=2,
        )
        return
    for path, rule in rules.items():
        owner: Any = module
        *parents, name = path.split(".")
        for parent in parents:
            owner = getattr(owner, parent)
        found = vars(owner).get(name)
        if found is None:
            continue  # another version of the library, which has no such function
        real = found.__func__ if isinstance(found, staticmethod) else found
        guarded = guard(real, rule, library.within)
        setattr(owner, name, staticmethod(guarded) if real is not found else guarded)
        if isinstance(owner, ModuleType):
            replaced.setdefault(name, []).append((real, guarded))


def _replace(functions: _Replaced) -> None:
    """Modules that took a function by `from … import` get the guarded one too."""
    for module in list(sys.modules.values()):
        # By its type: cffi's libraries (cryptography has one) say that they are modules.
        if issubclass(type(module), ModuleType):
            space = object.__getattribute__(module, "__dict__")  # loads no lazy module
            for name in space.keys() & functions.keys():
                for real, guarded in functions[name]:
                    if space[name] is real:
                        space[name] = guarded


def guard(real: Callable[..., Any], rule: Rule, within: tuple[str, ...]) -> Callable[..., Any]:
    """`real`, for calls that take nothing from others."""

    def call(
        perform: Callable[..., Any], frame: FrameType | None, args: tuple[Any, ...], options: Any
    ) -> Any:
        frame = outside(frame, within)
        if frame is None or is_for_itself(frame):
            return perform()
        claims = _claims(rule, args, options)
        values = [value for claim in claims for value in claim.parts.values()]
        who = registering(frame, values) if claims else None
        if who is None:
            return perform()
        with _lock:
            claims = _claims(rule, args, options)  # as it is by now
            there = [ledger.is_there(claim, who) for claim in claims]
            if all(there):
                return claims[0].accepted
            result = perform()
            for claim in claims:
                ledger.record(claim, who)
            return result

    @functools.wraps(real)
    def register(*args: Any, **options: Any) -> Any:
        frame = sys._getframe(1)  # noqa: SLF001
        if rule.levels is not None:
            options[rule.levels] = _deeper(frame, options.get(rule.levels, 1))
        elif is_for_itself(frame):  # first: an import of gymnasium registers fifty times
            return real(*args, **options)
        if rule.slot is None or _filled(args, rule.slot):
            return call(lambda: real(*args, **options), frame, args, options)
        decorate = real(*args, **options)

        def decorator(function: Any) -> Any:
            whole = (*args[: rule.slot], function)
            return call(lambda: decorate(function), sys._getframe(1), whole, options)  # noqa: SLF001

        return functools.wraps(decorate)(decorator) if callable(decorate) else decorate

    return register


def _filled(args: tuple[Any, ...], slot: int) -> bool:
    return len(args) > slot and args[slot] is not None


def _claims(rule: Rule, args: tuple[Any, ...], options: dict[str, Any]) -> list[Claim]:
    """What a call claims; nothing if it makes no sense: the registry itself says so."""
    try:
        return list(rule.read(*args, **options))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError):
        return []


def _deeper(frame: FrameType | None, levels: int) -> int:
    """A number of stack frames above the guarded function, counting those of guards as well."""
    more = levels + 3  # the three above it
    while frame is not None and levels > 1:
        frame = frame.f_back
        if frame is not None and str(frame.f_globals.get("__name__")).startswith(OURS):
            more += 1
        else:
            levels -= 1
    return more
