"""What speaks for a commit and against it: facts of an old file, sought in the commit's source."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from codevault.identify.commitmodules import Shelf
from codevault.identify.scan import Scan, parts_of
from codevault.identify.trees import Library

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from codevault.identify.classes import ClassSource
    from codevault.identify.filefacts import Traces
    from codevault_cache.commithistory import Chronicle

_FOREIGN: Final = frozenset({"torch", "numpy", "", *sys.stdlib_module_names})
_BARE: Final = frozenset({"torch.nn.modules.linear", "torch.nn.modules.activation"})
"""Where modules are whose instances have hardly more than what torch gives each of its own."""
_TEXTS: Final = {
    "defines": "{subject} has {name}",
    "attribute": "{subject} gives its instances {name}",
    "always": "{subject} always sets {name}, which the file lacks",
    "argument": "{subject} takes {name}",
    "weight": "some source names {name}, a part of keys",
    "class": "one class has {name}, with which keys begin",
    "extra": "{subject} has weights in {name}, which the file lacks",
    "entry": "its sources spell {name}, a key of the file's mapping",
    "version": "{subject} {name} is stated",
}


class Fact(NamedTuple):
    """One thing that the file says of its code, or the code of its files.

    `always` and `extra` speak against a commit that has them; all others for it.
    """

    kind: str
    subject: str
    name: str

    def __str__(self) -> str:
        return _TEXTS[self.kind].format(subject=self.subject, name=self.name)


AGAINST: Final = frozenset({"always", "extra"})


@dataclass(frozen=True, slots=True)
class Witness:
    """What is asked of each commit.

    Attributes:
        facts: What a commit should have.
        library: Sources of the classes that the file names.
        scan: Names in all sources; None where the classes that the file names say it all.
        traces: What the file tells.
    """

    facts: frozenset[Fact]
    library: Library
    scan: Scan | None
    traces: Traces

    @property
    def modules(self) -> list[str]:
        """The own modules that the file names."""
        found = {fact.subject for fact in self.facts if fact.kind == "defines"}
        return sorted(found)


def witness_of(
    traces: Traces, chronicle: Chronicle, roots: tuple[str, ...], class_path: str
) -> Witness:
    """Prepares the question.

    Args:
        traces: What the file tells.
        chronicle: The repository's.
        roots: Folders of the import path; none finds them.
        class_path: The class of the policy, where the caller knows it; or "".
    """
    named = [home for home in traces.names if home[0].partition(".")[0] not in _FOREIGN]
    facts = {Fact("defines", *home) for home in named}
    modules = [s for home, sets in traces.attributes.items() if home[0] in _BARE for s in sets]
    torchs = frozenset.intersection(*modules) if modules else frozenset()
    for home, sets in traces.attributes.items():
        if home in named:
            every = frozenset().union(*sets) - torchs
            facts |= {Fact("attribute", ".".join(home), n) for n in every if n.isidentifier()}
    described = traces.described or (class_path, ())
    if described[0]:
        home = _home(described[0])
        facts.add(Fact("defines", *home))
        facts |= {Fact("argument", ".".join(home), name) for name in described[1]}
    first, words = parts_of(traces.keys)
    if class_path:
        facts |= {Fact("attribute", ".".join(_home(class_path)), name) for name in first}
        first = frozenset()
    elif any(fact.kind == "attribute" for fact in facts):
        first, words = frozenset(), frozenset()  # the classes that it names say it better
    facts |= {Fact("weight", "", name) for name in words}
    facts |= {Fact("class", "", name) for name in first}
    entries = frozenset(name for name in traces.entries if len(name) > 2)
    facts |= {Fact("entry", "", name) for name in entries}
    tops = frozenset(fact.subject.partition(".")[0] for fact in facts if fact.kind == "defines")
    for package, version in traces.versions.items():
        if package.lower().replace("-", "_") in tops:
            facts.add(Fact("version", package.lower().replace("-", "_"), version))
    scan = Scan(chronicle, first, words, entries) if words or entries else None
    return Witness(frozenset(facts), Library(chronicle, tops, roots), scan, traces)


@dataclass(slots=True)
class Recall:
    """Answers by the questions that led to them: commits with equal modules are asked once.

    What is asked first is the same for all, and what is asked next follows from the answer.
    """

    facts: frozenset[Fact] | None = None
    question: str = ""
    rest: dict[Hashable, Recall] = field(default_factory=dict)


def facts_of(witness: Witness, tree: str, recall: Recall) -> frozenset[Fact]:
    """The facts of one commit: those of the file that it has, and those that speak against it."""
    shelf, node = Shelf(witness.library, tree), recall
    while node.facts is None and (known := node.rest.get(shelf.answer(node.question))) is not None:
        node = known
    if node.facts is None:
        node = recall
        shelf = Shelf(witness.library, tree)
        facts = _named(witness, shelf)
        for question, answer in shelf.asked.items():
            node.question = question
            node = node.rest.setdefault(answer, Recall())
        node.facts = facts
    return node.facts | _scanned(witness, tree)


def _named(witness: Witness, shelf: Shelf) -> frozenset[Fact]:
    found: set[Fact] = set()
    lineages: dict[str, list[ClassSource]] = {}
    for fact in sorted(witness.facts):
        if fact.kind == "defines" and shelf.found(fact.subject, fact.name) is not None:
            found.add(fact)
            lineages[f"{fact.subject}.{fact.name}"] = shelf.lineage(fact.subject, fact.name)
    for fact in sorted(witness.facts):
        lineage = lineages.get(fact.subject, [])
        if fact.kind in ("attribute", "argument"):
            there = any(fact.name in c.attributes or fact.name in c.parameters for c in lineage)
            found |= {fact} if there else set()
        elif fact.kind == "version" and _states(shelf, fact):
            found.add(fact)
    for home, sets in witness.traces.attributes.items():
        name = ".".join(home)
        found |= {Fact("always", name, n) for n in _always(lineages.get(name, [])) - _common(sets)}
    return frozenset(found)


def _scanned(witness: Witness, tree: str) -> set[Fact]:
    if witness.scan is None:
        return set()
    marks = witness.scan.marks(tree)
    found = {Fact("weight", "", name) for name in marks.words}
    found |= {Fact("class", "", name) for name in marks.first}
    found |= {Fact("entry", "", name) for name in marks.entries}
    return found | {Fact("extra", marks.owner[1], name) for name in marks.extra}


def _always(lineage: Iterable[ClassSource]) -> frozenset[str]:
    """What each instance has once `__init__` of the class and of its bases ended."""
    found: set[str] = set()
    for cls in lineage:
        if cls.own_state:
            return frozenset()
        found |= cls.always
        if not cls.calls_super:
            break
    return frozenset(found)


def _common(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset.intersection(*sets)


def _home(class_path: str) -> tuple[str, str]:
    module, _, name = class_path.partition(":") if ":" in class_path else class_path.rpartition(".")
    return module, name


def _states(shelf: Shelf, fact: Fact) -> bool:
    """Whether the package states that version, where packages do."""
    for name in ("version.txt", "version.py", "__init__.py"):
        oid = shelf.text(fact.subject, name)
        for _, content in shelf.library.chronicle.files([] if oid is None else [oid]):
            if fact.name.encode() in content.split() or f'"{fact.name}"'.encode() in content:
                return True
    return False
