"""Names of weights and entries in all sources of a past; each file and each tree is read once.

A state_dict names no class. The commit that wrote it has a class which gives instances the names
that its keys begin with, and a file that spells the keys of the mapping around it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from codevault.identify.classes import ClassSource, read_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from codevault_cache.commithistory import Chronicle

_TREE: Final = 0o040000
_WORD: Final = re.compile(
    rb"self\.([A-Za-z_]\w*)|[\"']([A-Za-z_]\w*)[\"']|^\s*([A-Za-z_]\w*)\s*[:=]", re.M
)
_OF_TORCH: Final = re.compile(
    r"weight|bias|running_mean|running_var|num_batches_tracked|in_proj_(weight|bias|[qkv]_weight)|"
    r"bias_[kv]|(weight|bias)_([ih]h|hr)(_l\d+)?(_reverse)?|weight_[gv]|original\d|parametrizations|"
    r"_orig_mod|module|\d+|self_attn|out_proj"
)
"""Parts of keys that torch's own modules, wrappers and containers give."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What a file, or the files below a tree, have of the wanted names.

    Attributes:
        words: Parts of keys that some file has.
        entries: Entries that files have which spell at least two of them.
        first: First parts of keys that the one class with the most of them gives its instances.
        extra: What that class surely has weights in, and the keys do not name.
        owner: That class's file and name; two empty texts if there is none.
    """

    words: frozenset[str] = frozenset()
    entries: frozenset[str] = frozenset()
    first: frozenset[str] = frozenset()
    extra: frozenset[str] = frozenset()
    owner: tuple[str, str] = ("", "")


def parts_of(keys: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """First parts of keys, and all parts, without those that torch's own modules give."""
    split = [key.split(".") for key in keys]
    while split and all(parts[0] in ("module", "_orig_mod") for parts in split):
        split = [parts[1:] or parts for parts in split]
    every = {part for parts in split for part in parts}
    first = {parts[0] for parts in split}
    return _own(first), _own(every)


def _own(parts: Iterable[str]) -> frozenset[str]:
    return frozenset(p for p in parts if p.isidentifier() and not _OF_TORCH.fullmatch(p))


@dataclass(slots=True)
class Scan:
    """Marks of every file and tree of a chronicle.

    Attributes:
        first: First parts of the keys.
        words: All parts of the keys.
        entries: Keys of the mapping around the weights.
    """

    chronicle: Chronicle
    first: frozenset[str]
    words: frozenset[str]
    entries: frozenset[str]
    files: int = 0
    _blobs: dict[str, Marks] = field(default_factory=dict)
    _trees: dict[str, Marks] = field(default_factory=dict)
    _listed: set[str] = field(default_factory=set)

    def read(self, trees: Iterable[str]) -> None:
        """Reads each Python file below some trees once."""
        oids: dict[str, None] = {}
        waiting = list(trees)
        while waiting:
            tree = waiting.pop()
            if tree in self._listed:
                continue
            self._listed.add(tree)
            for entry in self.chronicle.entries(tree).values():
                if entry.mode == _TREE:
                    waiting.append(entry.oid)
                elif entry.name.endswith(".py") and entry.oid not in self._blobs:
                    oids[entry.oid] = None
        for oid, content in self.chronicle.files(oids):
            self._blobs[oid] = self._marks(oid, content)
            self.files += 1

    def _marks(self, oid: str, content: bytes) -> Marks:
        seen = {next(filter(None, found)).decode() for found in _WORD.findall(content)}
        words, entries = self.words & seen, self.entries & seen
        entries = entries if len(entries) >= min(2, len(self.entries)) else frozenset()
        there = self.first & words
        if len(there) < max(1, len(self.first) // 2):
            return Marks(words, entries)
        best = Marks(words, entries)
        for name, cls in self._classes(content).items():
            first = self.first & (cls.attributes | cls.parameters)
            extra = cls.weights - self.words
            if (len(first), -len(extra)) > (len(best.first), -len(best.extra)):
                best = Marks(words, entries, first, extra, (oid, name))
        return best

    def _classes(self, content: bytes) -> Mapping[str, ClassSource]:
        """The classes of a file, each with what those above it in the same file give."""
        classes = read_source(content).classes
        merged: dict[str, ClassSource] = {}
        for name, cls in classes.items():
            attributes, weights = set(cls.attributes), set(cls.weights)
            for base in cls.bases:
                if base in merged:
                    attributes |= merged[base].attributes
                    weights |= merged[base].weights if cls.calls_super else set()
            merged[name] = ClassSource(
                cls.bases, frozenset(attributes), cls.always, frozenset(weights), cls.parameters
            )
        return merged

    def marks(self, tree: str) -> Marks:
        """What the files below a tree have; `read` was called with it, or with one above it."""
        known = self._trees.get(tree)
        if known is None:
            found = []
            for entry in self.chronicle.entries(tree).values():
                if entry.mode == _TREE:
                    found.append(self.marks(entry.oid))
                elif entry.oid in self._blobs:
                    found.append(self._blobs[entry.oid])
            known = self._trees[tree] = _joined(found)
        return known


def _joined(found: list[Marks]) -> Marks:
    if not found:
        return Marks()
    classes = max(found, key=lambda m: (len(m.first), -len(m.extra), m.owner))
    return Marks(
        frozenset().union(*(m.words for m in found)),
        frozenset().union(*(m.entries for m in found)),
        classes.first,
        classes.extra,
        classes.owner,
    )
