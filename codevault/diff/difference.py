"""What is different between two snapshots: the public face of `codevault diff`."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from codevault.checkpointcode import CachePath, open_cache
from codevault.diff.sides import is_commit, named, side
from codevault.errors import CodeError
from codevault.evolve.codediff import Code, changes, followed, loaded_by
from codevault.evolve.ownimports import modules_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codevault.diff.sides import Named, Side
    from codevault.evolve.codediff import ModuleChange

_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Fact:
    """One value that differs.

    Attributes:
        name: What it is of: `roots`, `kwargs.hidden`, a package.
        old: On the old side; None where it has none.
        new: On the new side; None where it has none.
    """

    name: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed between two snapshots.

    Attributes:
        old: The old side.
        new: The new side.
        compared: How many own modules count on the old side, and on the new.
        modules: Own modules that are not the same, by name.
        snapshot: Of roots, shared, include and contract, what differs.
        architecture: Values of the architecture that differ; None unless both are checkpoints.
        packages: Packages (and `python`) of other versions; None unless both are checkpoints.
        weights: Whether their weights are the same bytes; None unless both are checkpoints.
    """

    old: Side
    new: Side
    compared: tuple[int, int]
    modules: tuple[ModuleChange, ...]
    snapshot: tuple[Fact, ...]
    architecture: tuple[Fact, ...] | None
    packages: tuple[Fact, ...] | None
    weights: bool | None


def difference(
    old: str,
    new: str,
    *,
    roots: Sequence[str] = (),
    modules: Sequence[str] = (),
    cache: CachePath = None,
) -> Difference:
    """What changed between two snapshots; torch is not imported, and nothing of them runs.

    The own modules that count are those that the policy of a checkpoint uses, and what importing
    them imports; between two commits all, or `modules` and what importing those imports.

    Args:
        old: A checkpoint, `REPOSITORY@COMMIT`, a folder as it is now, or a full commit of the other
            side's repository (else of the work tree around this folder).
        new: Likewise.
        roots: Folders of the import path, for sides that are no checkpoint.
        modules: Names of modules.
        cache: As for `load_policy`.

    Raises:
        CheckpointError: A file is no checkpoint, or a damaged one.
        CodeError: No side has a module that was asked for.
        CodevaultError: A commit is not a full one.
        FetchError: Code could not be had.
    """
    vault = open_cache(cache)
    first, second = _both(old, new)
    before, after = side(first, second, roots, vault), side(second, first, roots, vault)
    start = set(modules) or {
        n for s in (first, second) if s.pinned for n in s.pinned.manifest.modules
    }
    _must_have(modules, before, after)
    sides = _codes(before, after, start)
    pins = [each.pinned for each in (first, second) if each.pinned]
    both = [pin.manifest for pin in pins] if len(pins) == 2 else []
    return Difference(
        before,
        after,
        (len(sides[0].table()), len(sides[1].table())),
        tuple(changes(*sides)),
        facts(_selection(before), _selection(after))
        + (facts(*({"contract": m.contract} for m in both)) if both else ()),
        facts(*(_flat(pin.architecture) for pin in pins)) if both else None,
        facts(*({"python": m.python, **m.packages} for m in both)) if both else None,
        both[0].weights == both[1].weights if both else None,
    )


def facts(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Fact, ...]:
    """The entries of two mappings that differ, by name."""
    names = sorted({*old, *new})
    unlike = [n for n in names if old.get(n, _ABSENT) != new.get(n, _ABSENT)]
    return tuple(Fact(name, old.get(name), new.get(name)) for name in unlike)


def _both(old: str, new: str) -> tuple[Named, Named]:
    """Both sides; a bare commit is of the other one's repository."""
    if is_commit(old) and not is_commit(new):
        second = named(new)
        return named(old, second.repo), second
    first = named(old)
    return first, named(new, first.repo)


def _codes(old: Side, new: Side, start: set[str]) -> tuple[Code, Code]:
    """The own modules that count on each side."""
    if not start:
        return Code(old.tree, old.snapshot.roots), Code(new.tree, new.snapshot.roots)
    first, second = (loaded_by(each.tree, each.snapshot.roots, start) for each in (old, new))
    # What a checkpoint's policy loads is recorded; of a commit it is read, and may have moved.
    if new.named.pinned is None:
        more = followed(first, second)
        second = loaded_by(new.tree, new.snapshot.roots, start | more) if more else second
    if old.named.pinned is None:
        more = followed(second, first)
        first = loaded_by(old.tree, old.snapshot.roots, start | more) if more else first
    return first, second


def _must_have(modules: Sequence[str], *sides: Side) -> None:
    known = {n for each in sides for n in modules_of(each.tree.paths, each.snapshot.roots)}
    for name in modules:
        if name not in known:
            close = difflib.get_close_matches(name, known, 3)
            raise CodeError(
                f"neither side has a module {name}",
                f"near names: {', '.join(close)}" if close else "nothing has a name like it",
                f"--modules {close[0]}" if close else "--roots FOLDER  # where imports start",
            )


def _selection(each: Side) -> dict[str, Any]:
    names = ("roots", "shared", "include")
    return {name: list(getattr(each.snapshot, name)) for name in names}


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Plain data as one level: `kwargs.layers[0]` to its value."""
    if isinstance(value, dict) and value:
        inner = ((f"{name}.{key}" if name else str(key), part) for key, part in value.items())
    elif isinstance(value, list) and value:
        inner = ((f"{name}[{i}]", part) for i, part in enumerate(value))
    else:
        return {name: value}
    return {path: leaf for key, part in inner for path, leaf in _flat(part, key).items()}


def overlaid(each: Side) -> list[str]:
    """The files that lie over a checkpoint's commit: uncommitted changes and stand-ins."""
    pinned = each.named.pinned
    parts = pinned.manifest.overlay if pinned else None
    return [file.path for file in parts.files] if parts else []


def place_of(each: Side) -> str:
    """Where the code of a side is from, for people."""
    snapshot = each.snapshot
    repo = snapshot.repo or each.named.repo or "travels in the file"
    commit = snapshot.commit or "no commit"
    return f"{os.fspath(repo)} @ {commit}"
