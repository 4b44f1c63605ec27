"""Commits with equal evidence as one range, the best first; in it, commits with equal code."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault.identify.evidence import AGAINST, Fact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from codevault_cache.commits import Commit


@dataclass(frozen=True, slots=True)
class Version:
    """Commits whose policy code is the same bytes.

    Attributes:
        commits: Oldest first.
    """

    commits: tuple[Commit, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Commits for and against which the same facts speak.

    Attributes:
        commits: Oldest first.
        held: How many of the facts that tell commits apart, or that all have, it has.
        lacks: Facts of the file that some other commit has, and these have not.
        against: What these have, other commits have not, and the file contradicts.
        versions: The commits by their code, that with the newest commit first; empty for ranges
            that nobody will look at.
    """

    commits: tuple[Commit, ...]
    held: int
    lacks: tuple[Fact, ...]
    against: tuple[Fact, ...]
    versions: tuple[Version, ...] = ()

    @property
    def misses(self) -> int:
        """How much speaks against it."""
        return len(self.lacks) + len(self.against)


@dataclass(frozen=True, slots=True)
class Ranking:
    """All ranges.

    Attributes:
        ranges: The best first.
        facts: How many facts at least one commit has.
        unexplained: Facts of the file that no commit has.
    """

    ranges: tuple[Range, ...]
    facts: int
    unexplained: tuple[Fact, ...]


def ranked(
    found: Mapping[Commit, frozenset[Fact]],
    wanted: frozenset[Fact],
    latest: int | None,
    code: Callable[[Commit], object],
    few: int,
) -> Ranking:
    """Ranks commits by their facts.

    Args:
        found: What each commit has.
        wanted: What the file says.
        latest: When the file was written, seconds since 1970; breaks ties in favour of commits
            before it. None where nothing says it.
        code: The part of a commit that decides how its policy behaves; equal for equal code.
        few: How many ranges have their versions told apart.
    """
    groups: dict[frozenset[Fact], list[Commit]] = defaultdict(list)
    for commit, facts in found.items():
        groups[facts].append(commit)
    known = frozenset().union(*groups) & wanted
    always = frozenset.intersection(*groups) if groups else frozenset()
    ranges = []
    for facts, commits in groups.items():
        against = {f for f in facts - always if f.kind in AGAINST}
        ordered = tuple(sorted(commits, key=lambda c: (c.time, c.oid)))
        ranges.append(
            Range(
                ordered,
                len(facts & known),
                tuple(sorted(known - facts)),
                tuple(sorted(against)),
            )
        )
    ranges.sort(key=lambda r: (r.misses, _distance(r.commits, latest), -r.commits[-1].time))
    best = [_with_versions(each, code) for each in ranges[:few] if each.held]
    rest = [each for each in ranges[len(best) :] if each.held]
    return Ranking((*best, *rest), len(known), tuple(sorted(wanted - known)))


def _distance(commits: Sequence[Commit], latest: int | None) -> int:
    """How long before the file the last commit before it is; a range after it comes last."""
    if latest is None:
        return 0
    before = [latest - commit.time for commit in commits if commit.time <= latest]
    return min(before) if before else 1 << 60


def _with_versions(each: Range, code: Callable[[Commit], object]) -> Range:
    groups: dict[object, list[Commit]] = defaultdict(list)
    for commit in each.commits:
        groups[code(commit)].append(commit)
    versions = sorted((Version(tuple(c)) for c in groups.values()), key=_newest, reverse=True)
    return Range(each.commits, each.held, each.lacks, each.against, tuple(versions))


def _newest(version: Version) -> tuple[int, str]:
    last = version.commits[-1]
    return last.time, last.oid
