"""Rules that move a policy to newer code, and the TOML file that they are written in."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from codevault.errors import RulesError
from codevault.evolve.patterns import fault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Set

_TOP: Final = frozenset({"for", "after", "names", "architecture", "env", "rule"})
_EDITS: Final = frozenset({"rename", "set", "remove", "call"})
_ONE, _MANY = "a key", "a list of keys"
_INTEGER, _INTEGERS, _COUNT = "a whole number", "a list of whole numbers", "a number above 0"
_FILLS: Final = ("zeros", "ones", "normal", "constructor")
_FILL: Final = f"a number, or one of {', '.join(_FILLS)}"
_NUMBER, _FUNCTION = "a number", "pkg.mod:function"
_RULE: Final = re.compile(r"\s*\[\[rule\]\]")

# Each verb: what it is given, what else the rule must say, and what it may say.
_VERBS: Final[Mapping[str, tuple[str, Mapping[str, str], Mapping[str, str]]]] = {
    "rename": (_ONE, {"to": _ONE}, {}),
    "copy": (_ONE, {"to": _MANY}, {}),
    "reshape": (_ONE, {"shape": _INTEGERS}, {"to": _ONE}),
    "transpose": (_ONE, {"dims": _INTEGERS}, {"to": _ONE}),
    "squeeze": (_ONE, {"dim": _INTEGER}, {"to": _ONE}),
    "unsqueeze": (_ONE, {"dim": _INTEGER}, {"to": _ONE}),
    "split": (_ONE, {"to": _MANY, "dim": _INTEGER}, {"sizes": _INTEGERS}),
    "concat": (_MANY, {"to": _ONE, "dim": _INTEGER}, {}),
    "drop": (_ONE, {}, {}),
    "fill": (_ONE, {"with": _FILL}, {"shape": _INTEGERS, "std": _NUMBER, "seed": _INTEGER}),
    "call": (_FUNCTION, {"take": _MANY}, {}),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One `[[rule]]`.

    Attributes:
        place: File, number and line, for messages.
        verb: What it does; see `docs/migrate.md`.
        subject: What its verb is given: patterns of old keys; of new ones for `fill`; or the name
            of a function for `call`.
        told: What else it says, as in the file.
        hits: How many keys it is meant for; None where the file does not say.
    """

    place: str
    verb: str
    subject: tuple[str, ...]
    told: Mapping[str, Any]
    hits: int | None = None

    @property
    def old(self) -> tuple[str, ...]:
        """The patterns of the old keys that it takes."""
        return tuple(self.told["take"]) if self.verb == "call" else self.subject

    @property
    def new(self) -> tuple[str, ...]:
        """The patterns of the new keys that it gives; a `call` may give any."""
        if self.verb in ("drop", "call"):
            return ()
        to = self.told.get("to", list(self.subject))
        return (to,) if isinstance(to, str) else tuple(to)


@dataclass(frozen=True, slots=True)
class Edits:
    """Changes to the arguments of an architecture, or to an environment description.

    Paths have dots: `encoder.width` is the field `width` of the model at `encoder`, and `blocks[3]`
    the fourth of a list.

    Attributes:
        place: For messages.
        rename: Old path to new path.
        put: Path to its value (`set` in the file).
        remove: Paths.
        call: `pkg.mod:function` that takes the whole as plain data and gives it changed, or None.
    """

    place: str
    rename: Mapping[str, str] = field(default_factory=dict)
    put: Mapping[str, Any] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    call: str | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """A rules file.

    Attributes:
        name: The file, for messages and as it is recorded.
        sha256: Of its bytes.
        only_for: Class paths of the policies that it is for; empty if for all.
        after: Rules files of the repository that are applied before it, where it is named alone.
        names: Where modules, classes and functions went: old name to new name.
        architecture: Changes of the arguments.
        env: Changes of the recorded environment description.
        rules: Rules for the weights, in order.
    """

    name: str
    sha256: str
    only_for: tuple[str, ...]
    after: tuple[str, ...]
    names: Mapping[str, str]
    architecture: Edits
    env: Edits
    rules: tuple[Rule, ...]


def parse(data: bytes, name: str) -> Rules:
    """Reads a rules file.

    Args:
        data: Its bytes.
        name: Its name, for messages and as it is recorded.

    Raises:
        RulesError: It is no TOML, or says what no rules file may; names file, rule and line.
    """
    try:
        text = data.decode()
        table = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise RulesError(f"{name} is no TOML", str(error), "docs/migrate.md") from None
    _known(table, _TOP, name, "a rules file")
    entries = table.get("rule", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _wrong(f"{name}, rule", "is no list of tables", "[[rule]]")
    numbers = [n for n, line in enumerate(text.split("\n"), 1) if _RULE.match(line)]
    places = [f"{name}, rule {i}" for i in range(1, len(entries) + 1)]
    if len(numbers) == len(entries):
        places = [f"{p} (line {n})" for p, n in zip(places, numbers, strict=True)]
    only = table.get("for", [])
    return Rules(
        name=name,
        sha256=hashlib.sha256(data).hexdigest(),
        only_for=_texts([only] if isinstance(only, str) else only, f"{name}, for"),
        after=_texts(table.get("after", []), f"{name}, after"),
        names=_names(table.get("names", {}), f"{name}, [names]"),
        architecture=_edits(table.get("architecture", {}), f"{name}, [architecture]"),
        env=_edits(table.get("env", {}), f"{name}, [env]"),
        rules=tuple(_rule(*pair) for pair in zip(entries, places, strict=True)),
    )


def _rule(entry: Mapping[str, Any], place: str) -> Rule:
    verbs = [key for key in entry if key in _VERBS]
    if len(verbs) != 1:
        said = " and ".join(verbs) or ", ".join(entry) or "nothing"
        raise _wrong(place, f"says {said}", f"one of {', '.join(_VERBS)}")
    (verb,) = verbs
    kind, needed, optional = _VERBS[verb]
    _known(entry, {verb, "hits", *needed, *optional}, place, verb)
    for key, what in {verb: kind, **needed, **optional, "hits": _COUNT}.items():
        if key in entry:
            _check(entry[key], what, f"{place}: {key}")
        elif key == verb or key in needed:
            raise _wrong(place, f"does not say {key!r}", f"{key} = {what}")
    subject = entry[verb]
    told = {key: value for key, value in entry.items() if key not in (verb, "hits")}
    subjects = (subject,) if isinstance(subject, str) else tuple(subject)
    rule = Rule(place, verb, subjects, told, entry.get("hits"))
    if verb == "transpose" and len(told["dims"]) != 2:
        raise _wrong(place, f"has {len(told['dims'])} dims", "dims = [0, 1]")
    _check_stars(rule)
    return rule


def _check_stars(rule: Rule) -> None:
    """Each new key must be known from the old one."""
    stars = [pattern.split(".").count("*") for pattern in rule.old]
    if rule.verb == "fill":
        return
    if rule.verb == "concat" and len(set(stars)) > 1:
        raise _wrong(rule.place, "has old keys with more and with fewer stars", "as many in each")
    for pattern in rule.new:
        if pattern.split(".").count("*") != stars[0]:
            raise _wrong(
                rule.place,
                f"has {stars[0]} stars in {rule.old[0]!r}, and others in {pattern!r}",
                "as many stars on both sides: each stands for the same segment",
            )


def _edits(table: Any, place: str) -> Edits:
    if not isinstance(table, dict):
        raise _wrong(place, "is no table", "rename = {}, set = {}, remove = []")
    _known(table, _EDITS, place, "a table of edits")
    rename, put = table.get("rename", {}), table.get("set", {})
    if not isinstance(put, dict):
        raise _wrong(f"{place}: set", "is no table", "set = { width = 64 }")
    call = table.get("call")
    if call is not None:
        _check(call, _FUNCTION, f"{place}: call")
    removed = _texts(table.get("remove", []), f"{place}: remove")
    return Edits(place, _names(rename, f"{place}: rename"), put, removed, call)


def _names(table: Any, place: str) -> Mapping[str, str]:
    if not isinstance(table, dict) or not all(isinstance(v, str) and v for v in table.values()):
        raise _wrong(place, "is no table of names", '"old" = "new"')
    return table


def _texts(value: Any, place: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
        raise _wrong(place, "is no list of texts", '["..."]')
    return tuple(value)


_KINDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    _ONE: lambda v: isinstance(v, str),
    _MANY: lambda v: isinstance(v, list) and len(v) > 0 and all(isinstance(x, str) for x in v),
    _INTEGER: lambda v: type(v) is int,
    _INTEGERS: lambda v: isinstance(v, list) and all(type(x) is int for x in v),
    _COUNT: lambda v: type(v) is int and v > 0,
    _NUMBER: lambda v: type(v) in (int, float),
    _FUNCTION: lambda v: isinstance(v, str) and all(v.partition(":")),
    _FILL: lambda v: type(v) in (int, float) or v in _FILLS,
}


def _check(value: Any, what: str, place: str) -> None:
    if not _KINDS[what](value):
        raise _wrong(place, f"is {value!r}", what)
    if what in (_ONE, _MANY):
        for pattern in [value] if isinstance(value, str) else value:
            if wrong := fault(pattern):
                raise _wrong(place, f"is {pattern!r}, which {wrong}", "critic.*.weight")


def _known(table: Mapping[str, Any], keys: Set[str], place: str, what: str) -> None:
    if unknown := sorted(set(table) - keys):
        raise _wrong(place, f"has {', '.join(unknown)}", f"{what} takes {', '.join(sorted(keys))}")


def _wrong(place: str, why: str, hint: str) -> RulesError:
    return RulesError(f"{place} {why}", "", hint)
