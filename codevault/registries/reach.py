"""Pairs of things that must be equal: those that two functions reach by names and imports."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import codevault_importhook as hook
from codevault.registries import modulecode
from codevault.registries.codeform import uses

if TYPE_CHECKING:
    from types import CodeType

    from codevault.registries.codeform import Uses
    from codevault.registries.modulecode import Source


class Pair(NamedTuple):
    """One thing of the first registrant's, and what the second has in its place.

    Attributes:
        first: The first's.
        second: The second's.
        where: How it is reached, in words.
        attributes: Of modules and functions, the attributes that are used.
    """

    first: Any
    second: Any
    where: str
    attributes: frozenset[str] = frozenset()


Steps = Iterator[Pair | str]
"""What must be equal besides, or a difference in words, which ends the comparison."""


def unequal(first: Any, second: Any, where: str) -> str:
    """The difference of two plain values, in words."""
    texts = [text if len(text) <= 60 else text[:57] + "..." for text in map(repr, (first, second))]
    return f"{where} is {texts[0]} in one and {texts[1]} in the other"


Space = dict[str, Any]
"""The globals of a module."""


def functions(pair: Pair) -> Steps:
    """Equal code, defaults, closures and used attributes, and equal things under its names."""
    a, b, where, used = pair
    if not _same(a.__code__, a.__globals__, b.__code__, b.__globals__):
        yield f"the code of {where} ({a.__qualname__}) differs"
    yield Pair(a.__defaults__, b.__defaults__, f"{where}'s defaults")
    yield Pair(a.__kwdefaults__, b.__kwdefaults__, f"{where}'s defaults")
    cells = zip(a.__code__.co_freevars, a.__closure__ or (), b.__closure__ or (), strict=False)
    for name, one, other in cells:
        yield Pair(_content(one), _content(other), f"{where}'s {name}")
    for name in sorted(used & (vars(a).keys() | vars(b).keys())):
        yield Pair(vars(a).get(name), vars(b).get(name), f"{where}.{name}")
    yield from _names(a.__code__, a.__globals__, b.__code__, b.__globals__, where)


def modules(pair: Pair) -> Steps:
    """Modules of one name, with equal things under the attributes that are used."""
    a, b, where, used = pair
    if hook.strip(a.__name__) != hook.strip(b.__name__):
        yield unequal(a.__name__, b.__name__, where)
    for name in sorted(used):
        yield from _value(name, vars(a), vars(b), used, where)


def _names(code: CodeType, space: Space, twin: CodeType, its: Space, where: str) -> Steps:
    if space is its:
        return
    used = uses(code)
    for name in sorted(used.names):
        yield from _value(name, space, its, used.attributes, where)
    yield from _imports(used, _package(space), uses(twin), _package(its), where)


def _value(name: str, space: Space, its: Space, used: frozenset[str], where: str) -> Steps:
    if name in space and name in its:
        yield Pair(space[name], its[name], f"{where} → {name}", used)
    elif name in space:
        yield from _late(name, space, its, where)
    elif name in its:
        yield from _late(name, its, space, where)


def sources(a: Source, b: Source, where: str) -> Steps:
    """Equal modules that are not both loaded, and equal modules that they import."""
    if not modulecode.same(a.code, a.name, b.code, b.name):
        yield f"{where} differs, or cannot be compared yet"
    used, its = uses(a.code), uses(b.code)
    yield from _imports(used, a.package, its, b.package, where)


def _late(name: str, have: Space, lack: Space, where: str) -> Steps:
    """A name that one module has and the other, still being executed, will have."""
    source = modulecode.of_module(_name(lack), lack)
    if source is not None:
        value, coming = have[name], modulecode.defined(source.code, name)
        mine = getattr(value, "__code__", None)
        if mine is not None and coming is not None and _same(mine, have, coming, lack):
            yield from _names(mine, have, coming, lack, f"{where} → {name}")
            return
        whole = modulecode.of_module(_name(have), have)
        if whole is not None and _same(whole.code, have, source.code, lack):
            yield Pair(whole, source, f"the module of {where}")
            return
    yield f"{where} uses {name!r}, which is other code, or not defined yet, in one of them"


def _imports(used: Uses, package: str, its: Uses, its_package: str, where: str) -> Steps:
    """The same modules under the names that import statements inside functions have."""
    theirs = _imported(its, its_package)
    for name, (full, is_module) in _imported(used, package).items():
        twin, _ = theirs.get(name, (full, is_module))
        if full == twin:
            continue
        one, other = sys.modules.get(full), sys.modules.get(twin)
        inside = f"{where} → {name}"
        if one is not None and other is not None:
            yield Pair(one, other, inside, used.attributes)
            continue
        source, its_source = modulecode.of_module(full), modulecode.of_module(twin)
        if source is not None and its_source is not None:
            yield Pair(source, its_source, inside)
        elif is_module or source is not its_source:
            yield f"{inside} cannot be compared yet"
        # else it is no module but an attribute of one, which is looked at there


def _imported(used: Uses, package: str) -> dict[str, tuple[str, bool]]:
    """What import statements inside a function name: original name to full name.

    With it goes whether it is a module for sure; what stands behind `import` may be anything.
    """
    found: dict[str, tuple[str, bool]] = {}
    for name, level, taken in used.imports:
        full = name
        if level:
            try:
                full = importlib.util.resolve_name("." * level + name, package)
            except ImportError:
                continue
        for leaf in taken:
            found.setdefault(hook.strip(f"{full}.{leaf}"), (f"{full}.{leaf}", False))
        found[hook.strip(full)] = (full, True)
    return {name: both for name, both in found.items() if not hook.is_splint(name)}


def _same(code: CodeType, space: Space, twin: CodeType, its: Space) -> bool:
    return modulecode.same(code, _name(space), twin, _name(its))


def _package(space: Space) -> str:
    return str(space.get("__package__") or "")


def _name(space: Space) -> str:
    return str(space.get("__name__", ""))


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None  # still empty
