"""Matching of renamed keys: how much is automatic, how much of it right, and what is asked.

    names   each key takes the most similar free name of its shape, best pairs first
    order   the n-th remaining old key takes the n-th remaining new one, if the shapes agree
    shapes  a key takes the only new key of its shape and last name

The cases are renames between published releases (tests/codevault/evolve/cases). Of those in
`unseen` only totals were seen while the matcher was written. The three baselines keep equal names
of equal shape.

Run from the repository's root; this writes docs/matching.md:

    python -m benchmarks.matching
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Final

from codevault import match_state_dicts

HERE: Final = Path(__file__).parent.parent
CASES: Final = HERE / "tests/codevault/evolve/cases"
DOC: Final = HERE / "docs/matching.md"

Matcher = Callable[[list[Any], list[Any]], dict[str, str]]


@dataclass(frozen=True)
class Score:
    """One case: counts of keys. `wrong` counts every key that got a target that is not true."""

    name: str
    renamed: int
    right: int
    wrong: int
    kept_asked: int
    asked: int
    among_two: int
    others: dict[str, tuple[int, int]]


def free(old: list[Any], new: list[Any]) -> tuple[dict[str, str], list[Any], list[Any]]:
    shapes = {row[0]: row[1] for row in new}
    same = {row[0]: row[0] for row in old if shapes.get(row[0]) == row[1]}
    return same, [r for r in old if r[0] not in same], [r for r in new if r[0] not in same]


def names(old: list[Any], new: list[Any]) -> dict[str, str]:
    found, ours, theirs = free(old, new)
    pairs = sorted(
        (
            (SequenceMatcher(None, a[0], b[0], autojunk=False).ratio(), a[0], b[0])
            for a in ours
            for b in theirs
            if a[1] == b[1]
        ),
        reverse=True,
    )
    taken: set[str] = set()
    for _, source, target in pairs:
        if source not in found and target not in taken:
            found[source] = target
            taken.add(target)
    return found


def order(old: list[Any], new: list[Any]) -> dict[str, str]:
    found, ours, theirs = free(old, new)
    return found | {a[0]: b[0] for a, b in zip(ours, theirs, strict=False) if a[1] == b[1]}


def shapes(old: list[Any], new: list[Any]) -> dict[str, str]:
    found, ours, theirs = free(old, new)
    sides: list[dict[object, list[str]]] = []
    for rows in (ours, theirs):
        side: dict[object, list[str]] = defaultdict(list)
        for key, shape, *_ in rows:
            side[tuple(shape), key.rpartition(".")[2]].append(key)
        sides.append(side)
    return found | {
        keys[0]: sides[1][what][0]
        for what, keys in sides[0].items()
        if len(keys) == 1 == len(sides[1].get(what, []))
    }


BASELINES: Final[dict[str, Matcher]] = {"names": names, "order": order, "shapes": shapes}


def score(case: dict[str, Any]) -> Score:
    truth: dict[str, list[str]] = case["truth"]
    renamed = [key for key, targets in truth.items() if targets != [key]]
    match = match_state_dicts(case["old"], case["new"])
    asked = {key: {c.key for c in found[:2]} for key, found in match.asked.items() if key in truth}

    def counts(found: Any) -> tuple[int, int]:
        wrong = sum(target not in truth.get(key, []) for key, target in found.items())
        return sum(found.get(key) in truth[key] for key in renamed), wrong

    right, wrong = counts(match.automatic)
    return Score(
        name=f"{case['library']}: {case['name']} {case['old_release']} → {case['new_release']}",
        renamed=len(renamed),
        right=right,
        wrong=wrong,
        kept_asked=len(asked.keys() - set(renamed)),
        asked=len(asked),
        among_two=sum(bool(found & set(truth[key])) for key, found in asked.items()),
        others={n: counts(matcher(case["old"], case["new"])) for n, matcher in BASELINES.items()},
    )


def table(scores: list[Score]) -> list[str]:
    head = ["case", "renamed", "automatic", "wrong", "asked", "in top two", *BASELINES]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---|" * (len(head) - 1)]
    for s in scores:
        others = [f"{right} / {wrong}" for right, wrong in s.others.values()]
        cells = [s.name, s.renamed, s.right, s.wrong, s.asked, s.among_two, *others]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def share(parts: list[tuple[int, int]]) -> str:
    """The mean over cases of part / whole; a case without a whole does not count."""
    shares = [part / whole for part, whole in parts if whole]
    return f"{statistics.mean(shares):.1%}" if shares else "none"


def summary(scores: list[Score]) -> list[str]:
    lines = ["| matcher | renamed keys right, mean over cases | wrong keys |", "|---|---|---|"]
    ours = share([(s.right, s.renamed) for s in scores])
    lines.append(f"| codevault, automatic | {ours} | {sum(s.wrong for s in scores)} |")
    for name in BASELINES:
        right = share([(s.others[name][0], s.renamed) for s in scores])
        wrong = sum(s.others[name][1] for s in scores)
        lines.append(f"| {name} alone | {right} | {wrong} |")
    among = share([(s.among_two, s.asked) for s in scores])
    kept = sum(s.kept_asked for s in scores)
    return [*lines, "", f"True target among the first two of the asked keys: {among} (mean over "
            f"cases); {kept} of the asked keys had kept their names."]  # fmt: skip


def page(cases: Path = CASES) -> str:
    text = [
        "# Matching of renamed keys",
        "",
        "Written by `python -m benchmarks.matching`. Each case is a rename between two published",
        "releases, with the mapping that the maintainers published or that equal outputs prove.",
        "`automatic` are renamed keys that got their true target; `wrong` counts all keys that got",
        "another, also kept and dropped ones. Baselines are given as right / wrong.",
        "",
        "The matcher was written while looking at the first cases; of the unseen ones only totals",
        "were seen, and those of diffusers came when it was done. swinv2_tiny is a rename like",
        "swin_tiny's. No error rate follows from so few.",
    ]
    for title, folder in (("Cases it was written with", cases), ("Unseen cases", cases / "unseen")):
        found = [score(json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]
        text += ["", f"## {title}", "", *summary(found), "", *table(found)]
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    DOC.write_text(page())
    print(DOC.read_text())
