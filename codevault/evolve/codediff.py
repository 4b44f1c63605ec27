"""What changed in the own modules that a policy loads, between two trees: read, never run."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from codevault.evolve.ownimports import imported_with, modules_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

_ALIKE: Final = 0.6
"""How much of their lines two files of different names must share to count as one that moved."""
_CONTEXT: Final = 3


class Files(Protocol):
    """The files of a tree."""

    @property
    def paths(self) -> Collection[str]:
        """Their paths."""

    def read(self, path: str) -> bytes:
        """The verified bytes of one."""


@dataclass(frozen=True, slots=True)
class Code:
    """The own modules of one side.

    Attributes:
        files: The tree.
        roots: Folders of its import path, in order.
        modules: Names of those that count; None for all.
    """

    files: Files
    roots: Sequence[str]
    modules: frozenset[str] | None = None

    def table(self) -> dict[str, str]:
        """Name to path of the modules that count."""
        every = modules_of(self.files.paths, self.roots)
        if self.modules is not None:
            return {name: path for name, path in every.items() if name in self.modules}
        # A root inside another gives a file two names: the shorter one is what imports say.
        by_path: dict[str, str] = {}
        for name in sorted(every, key=len):
            by_path.setdefault(every[name], name)
        return {name: path for path, name in by_path.items()}


@dataclass(frozen=True, slots=True)
class ModuleChange:
    """One own module that is not the same on both sides.

    Attributes:
        kind: `changed`, `moved` (other name or file, its lines mostly kept), `added`, `removed`.
        old: Its name on the old side; None for one that was added.
        new: Its name on the new side; None for one that was removed.
        old_path: Its file in the old tree, or None.
        new_path: Its file in the new tree, or None.
        added: Number of lines that are new.
        removed: Number of lines that are gone.
        diff: The unified diff, by tree paths.
    """

    kind: Literal["changed", "moved", "added", "removed"]
    old: str | None
    new: str | None
    old_path: str | None
    new_path: str | None
    added: int
    removed: int
    diff: str


def loaded_by(files: Files, roots: Sequence[str], start: Iterable[str]) -> Code:
    """The modules that importing `start` imports; names that the tree lacks are passed over."""
    table = modules_of(files.paths, roots)
    return Code(files, roots, frozenset(imported_with(start, table, files.read)))


def followed(one: Code, other: Code) -> frozenset[str]:
    """Modules of the whole `other` tree that modules of `one` became which `other` lacks.

    A policy's module may be imported by a call alone, which no reading of imports shows.
    """
    before, after = one.table(), other.table()
    gone = {name: path for name, path in before.items() if name not in after}
    every = Code(other.files, other.roots).table() if gone else {}
    come = {name: path for name, path in every.items() if name not in before}
    return frozenset(_moves(one, other, gone, come).values())


def changes(old: Code, new: Code) -> list[ModuleChange]:
    """What changed between two sides, by name; modules with equal bytes and names are left out."""
    before, after = old.table(), new.table()
    gone = {name: path for name, path in before.items() if name not in after}
    come = {name: path for name, path in after.items() if name not in before}
    found = []
    for name in before.keys() & after.keys():
        change = _change(old, new, name, name, before[name], after[name])
        if change is not None:
            found.append(change)
    for one, other in _moves(old, new, gone, come).items():
        change = _change(old, new, one, other, gone.pop(one), come.pop(other))
        assert change is not None  # the names differ
        found.append(change)
    found += [_whole(old.files.read(path), name, path, "removed") for name, path in gone.items()]
    found += [_whole(new.files.read(path), name, path, "added") for name, path in come.items()]
    return sorted(found, key=lambda change: change.new or change.old or "")


def _moves(
    old: Code, new: Code, gone: Mapping[str, str], come: Mapping[str, str]
) -> dict[str, str]:
    """Modules whose lines are mostly those of one of another name; the most alike first."""
    there = {name: _lines(new.files.read(path)) for name, path in come.items()}
    pairs = []
    for name, path in gone.items():
        lines = Counter(_lines(old.files.read(path)))
        for other, its in there.items():
            most = max(lines.total(), len(its))
            if min(lines.total(), len(its)) < _ALIKE * max(most, 1):
                continue
            alike = (lines & Counter(its)).total() / most
            if alike >= _ALIKE:
                same = name.rpartition(".")[2] == other.rpartition(".")[2]
                pairs.append((-alike, not same, name, other))
    found: dict[str, str] = {}
    for _, _, name, other in sorted(pairs):
        if name not in found and other not in found.values():
            found[name] = other
    return found


def _change(
    old: Code, new: Code, name: str, other: str, path: str, other_path: str
) -> ModuleChange | None:
    before, after = old.files.read(path), new.files.read(other_path)
    if (before, name, path) == (after, other, other_path):
        return None
    kind: Literal["moved", "changed"] = "changed" if path == other_path else "moved"
    diff = _diff(_lines(before), _lines(after), f"a/{path}", f"b/{other_path}")
    return ModuleChange(kind, name, other, path, other_path, *_counts(diff), "".join(diff))


def _whole(content: bytes, name: str, path: str, kind: Literal["added", "removed"]) -> ModuleChange:
    lines = _lines(content)
    if kind == "added":
        diff = _diff([], lines, "/dev/null", f"b/{path}")
        return ModuleChange(kind, None, name, None, path, len(lines), 0, "".join(diff))
    diff = _diff(lines, [], f"a/{path}", "/dev/null")
    return ModuleChange(kind, name, None, path, None, 0, len(lines), "".join(diff))


def _lines(content: bytes) -> list[str]:
    # Only `\n` ends a line for git and patch; what is no UTF-8 is shown as escapes.
    text = content.decode("utf-8", "backslashreplace")
    lines = [f"{line}\n" for line in text.split("\n")]
    if lines[-1] == "\n":
        return lines[:-1]
    return [*lines[:-1], f"{lines[-1]}\\ No newline at end of file\n"]


def _diff(old: list[str], new: list[str], before: str, after: str) -> list[str]:
    return list(difflib.unified_diff(old, new, before, after, n=_CONTEXT))


def _counts(diff: Sequence[str]) -> tuple[int, int]:
    body = diff[2:]
    return sum(x.startswith("+") for x in body), sum(x.startswith("-") for x in body)
