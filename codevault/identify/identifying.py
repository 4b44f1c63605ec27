"""From an old file and a repository to the commits that it can come from."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from codevault import fileforms
from codevault.checkpointcode import CachePath, as_codevault_error, open_cache
from codevault.convert.making import recognised
from codevault.errors import CodeError, CodevaultError
from codevault.identify.building import Plan, verdict
from codevault.identify.commitmodules import Shelf
from codevault.identify.evidence import Recall, facts_of, witness_of
from codevault.identify.filefacts import Traces, traces_of
from codevault.identify.ranking import Range, Ranking, Version, ranked
from codevault.uri import shown
from codevault_cache.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from codevault.identify.evidence import Fact, Witness
    from codevault_cache.commithistory import Chronicle
    from codevault_cache.commits import Commit

_FEW: Final = 1
"""Of how many ranges the versions are told apart."""
_BUILDS: Final = 24
"""How many versions are built."""


@dataclass(frozen=True, slots=True)
class Identified:
    """What was found.

    Attributes:
        traces: What the file tells.
        ranking: The commits, by what speaks for them.
        commits: How many commits were looked at.
        files: How many files of code were read.
        built: For the newest commit of each version of the best range that was built: why its
            policy does not take the weights, or "" if it does.
        chosen: The commit that is proposed.
        line: The command that makes a checkpoint with it.
        seconds: Wall time.
    """

    traces: Traces
    ranking: Ranking
    commits: int
    files: int
    built: Mapping[str, str]
    chosen: Commit
    line: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for, and where.

    Attributes:
        old: The file, or a bundle's folder.
        repo: A URL, or the path of a repository.
        since: The earliest commit that counts, seconds since 1970; None for any.
        until: The latest; None for any.
        roots: Folders of the import path; none finds them by the names in the file.
        class_path: The policy's class, `pkg.mod:Class`, where the file does not name it.
        plan: How policies are built to compare them; None builds none, and runs nothing.
    """

    old: str
    repo: str
    since: int | None = None
    until: int | None = None
    roots: tuple[str, ...] = ()
    class_path: str = ""
    plan: Plan | None = None


def identify(
    question: Question, *, cache: CachePath = None, say: Callable[[str], None] = lambda _: None
) -> Identified:
    """The commits of a repository that an old file can come from.

    Args:
        question: What is looked for. Nothing runs unless it has a plan.
        cache: As for `load_policy`.
        say: Told before each policy that is built.

    Raises:
        CheckpointError: It is no old file that is known, or a damaged one.
        CodeError: The repository has no such commits, or none that has to do with the file.
        CodevaultError: The file tells nothing of its code.
        FetchError: The repository does not answer.
    """
    start = time.perf_counter()
    traces = traces_of(recognised(question.old))
    vault = open_cache(cache)
    try:
        from codevault_cache.commithistory import chronicle

        with chronicle(vault, question.repo) as history:
            chosen = [c for c in history.commits if _within(c, question)]
            witness = witness_of(traces, history, question.roots, question.class_path)
            _must_have(witness, chosen, question)
            ranking = _ranked(witness, history, chosen)
            files = witness.library.parsed + (witness.scan.files if witness.scan else 0)
    except CacheError as error:
        raise as_codevault_error(error) from error
    if not ranking.ranges:
        raise CodeError(
            f"no commit of {question.repo} has anything that {shown(question.old)} speaks of",
            f"it speaks of: {'; '.join(str(fact) for fact in sorted(witness.facts)[:4])}",
            "name the repository that it was trained with: --repo URL_OR_PATH",
        )
    built = _built(question, ranking, traces, say)
    commit = _proposed(ranking, built, traces.written or traces.modified)
    line = _line(question, traces, witness, commit)
    seconds = time.perf_counter() - start
    return Identified(traces, ranking, len(chosen), files, built, commit, line, seconds)


def _ranked(witness: Witness, history: Chronicle, chosen: list[Commit]) -> Ranking:
    trees = dict.fromkeys(commit.tree for commit in chosen)
    if witness.scan is not None:
        witness.scan.read(trees)
    recall = Recall()
    by_tree = {tree: facts_of(witness, tree, recall) for tree in trees}
    found = {commit: by_tree[commit.tree] for commit in chosen}

    def code(commit: Commit) -> object:
        oids = Shelf(witness.library, commit.tree).modules_with(witness.modules)
        if witness.scan is not None:
            oids |= {witness.scan.marks(commit.tree).owner[0]}
        return oids

    traces = witness.traces
    wanted = _of_here(witness.facts, by_tree.values())
    return ranked(found, wanted, traces.written or traces.modified, code, _FEW)


def _of_here(wanted: frozenset[Fact], found: Iterable[frozenset[Fact]]) -> frozenset[Fact]:
    """Facts without those of packages of which no commit has anything: they are third party."""
    here = {fact.subject.partition(".")[0] for facts in set(found) for fact in facts}
    return frozenset(f for f in wanted if not f.subject or f.subject.partition(".")[0] in here)


def _built(
    question: Question, ranking: Ranking, traces: Traces, say: Callable[[str], None]
) -> dict[str, str]:
    """Verdicts of versions of the best range: at its ends, and at borders between unlike ones."""
    plan, commits = question.plan, [v.commits[-1].oid for v in ranking.ranges[0].versions]
    found: dict[str, str] = {}

    def built(place: int) -> str:
        commit = commits[place]
        if plan is not None and commit not in found:
            say(f"builds {plan.class_path} of {commit[:12]}")
            found[commit] = verdict(plan, commit, traces.keys)
        return found[commit]

    waiting = [(0, len(commits) - 1)] if plan is not None and commits else []
    while waiting and len(found) < _BUILDS:
        first, last = waiting.pop(0)
        if built(first) != built(last) and last - first > 1:
            middle = (first + last) // 2
            waiting += [(first, middle), (middle, last)]
    return found


def _fitting(best: Range, built: Mapping[str, str]) -> list[Version]:
    """Versions whose policy takes the weights, and those between two such that were built."""
    said = [built.get(version.commits[-1].oid) for version in best.versions]
    known = [place for place, text in enumerate(said) if text is not None]
    fits = []
    for place, version in enumerate(best.versions):
        near = [k for k in known if k <= place][-1:] + [k for k in known if k >= place][:1]
        if len(near) == 2 and all(said[k] == "" for k in near):
            fits.append(version)
    return fits


def _proposed(ranking: Ranking, built: Mapping[str, str], latest: int) -> Commit:
    """The newest commit of the best range before the file, of a version that fits."""
    best = ranking.ranges[0]
    commits = [c for v in _fitting(best, built) for c in v.commits] or best.commits
    before = [commit for commit in commits if commit.time <= latest]
    return max(before or commits, key=lambda commit: (commit.time, commit.oid))


def _line(question: Question, traces: Traces, witness: Witness, commit: Commit) -> str:
    words = ["codevault", "convert", shown(question.old), "-o", "new.mpt"]
    words += ["--repo", question.repo, "--commit", commit.oid]
    roots = question.roots or _roots(witness, commit)
    words += [word for root in roots for word in ("--roots", root)]
    if question.class_path:
        words += ["--class", question.class_path]
    elif traces.described is None and not witness.modules:
        words += ["--class", "pkg.mod:Class"]
    for name, data in (question.plan.arguments if question.plan else {}).items():
        words += ["--arg", f"{name}={json.dumps(data)}"]
    if traces.form != fileforms.SB3:
        words += ["--probe", "OBS"]
    return shlex.join(words)


def _roots(witness: Witness, commit: Commit) -> tuple[str, ...]:
    """The folders that imports start from, in the order of the search; none for the usual ones."""
    shelf = Shelf(witness.library, commit.tree)
    shelf.modules_with(witness.modules)
    used = tuple(root for root in shelf.roots if root in shelf.used())
    return () if used in ((), (".",), ("src",)) else used


def _within(commit: Commit, question: Question) -> bool:
    since, until = question.since, question.until
    return (since is None or commit.time >= since) and (until is None or commit.time <= until)


def _must_have(witness: Witness, chosen: list[Commit], question: Question) -> None:
    if not chosen:
        raise CodeError(
            f"{question.repo} has no commits to look at",
            "no branch or tag leads to one, between --since and --until",
            f"git -C {shlex.quote(question.repo)} log --all --oneline",
        )
    if not witness.facts:
        raise CodevaultError(
            f"{shown(question.old)} tells nothing of its code",
            "it names no classes, and its weights only have names that torch gives",
            "--class pkg.mod:Policy  # if you know what took its weights",
        )
