"""Matching of renamed keys: how much is automatic, how much of it right, and what is asked.

The cases are renames between published releases (tests/codevault/evolve/cases).

Run from the repository's root; this writes docs/matching.md:

    python -m benchmarks.matching
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.baselines import BASELINES
from codevault import Match, match_state_dicts
from codevault.evolve.roles import Roles

HERE: Final = Path(__file__).parent.parent
CASES: Final = HERE / "tests/codevault/evolve/cases"
DOC: Final = HERE / "docs/matching.md"

SETS: Final = {
    "Cases it was written with": ".",
    "Cases that were matched once before it was changed": "unseen",
    "Cases that came when roles were in place": "after",
}
FULL: Final = "codevault, both versions run"
ROWS: Final = "codevault, rows alone"
FIRST: Final = "rows alone, at first sight"


@dataclass(frozen=True)
class Count:
    """What a matcher made of one case, in keys. `wrong` counts every key with no true target."""

    right: int
    wrong: int
    kept_asked: int = 0
    asked: int = 0
    among_two: int = 0


@dataclass(frozen=True)
class Score:
    """One case: its renamed keys, and what each matcher made of it."""

    name: str
    renamed: int
    counts: dict[str, Count]


def runs(case: dict[str, Any]) -> tuple[Roles, Roles] | None:
    """What runs of both versions told; None where they were not run."""
    if "runs" not in case:
        return None
    old, new = (
        Roles(
            gradients={
                row[0]: tuple(gradient)
                for row, gradient in zip(case[side], run["gradients"], strict=True)
                if gradient
            },
            unused=frozenset(run["unused"]),
            precision=run["precision"],
        )
        for side, run in case["runs"].items()
    )
    return old, new


def score(case: dict[str, Any]) -> Score:
    truth: dict[str, list[str]] = case["truth"]
    renamed = [key for key, targets in truth.items() if targets != [key]]

    def kept(found: dict[str, str]) -> Count:
        wrong = sum(target not in truth.get(key, []) for key, target in found.items())
        return Count(sum(found.get(key) in truth[key] for key in renamed), wrong)

    def made(match: Match) -> Count:
        asked = {k: {c.key for c in some[:2]} for k, some in match.asked.items() if k in truth}
        return replace(
            kept(dict(match.automatic)),
            kept_asked=len(asked.keys() - set(renamed)),
            asked=len(asked),
            among_two=sum(bool(found & set(truth[key])) for key, found in asked.items()),
        )

    rows = case["old"], case["new"]
    tied = case.get("tied", [])
    counts = {
        FULL: made(match_state_dicts(*rows, tied=tied, roles=runs(case))),
        ROWS: made(match_state_dicts(*rows, tied=tied)),
    }
    if "first" in case:
        counts[FIRST] = Count(**case["first"])
    counts |= {name: kept(matcher(*rows)) for name, matcher in BASELINES.items()}
    name = f"{case['library']}: {case['name']} {case['old_release']} → {case['new_release']}"
    return Score(name + ("" if "runs" in case else " (not run)"), len(renamed), counts)


def table(scores: list[Score]) -> list[str]:
    others = list(scores[0].counts)[1:]
    head = ["case", "renamed", "right", "wrong", "asked", "in top two", *others]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---|" * (len(head) - 1)]
    for s in scores:
        full = s.counts[FULL]
        cells = [s.name, s.renamed, full.right, full.wrong, full.asked, full.among_two]
        rest = [f"{s.counts[other].right} / {s.counts[other].wrong}" for other in others]
        lines.append(f"| {' | '.join(map(str, [*cells, *rest]))} |")
    return lines


def share(parts: list[tuple[int, int]]) -> str:
    """The mean over cases of part / whole; a case without a whole does not count."""
    shares = [part / whole for part, whole in parts if whole]
    return f"{statistics.mean(shares):.1%}" if shares else "none"


def summary(scores: list[Score]) -> list[str]:
    head = ["matcher", "renamed keys right", "wrong keys", "asked", "of these in top two"]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---|" * (len(head) - 1)]
    for matcher in scores[0].counts:
        counts = [(s.renamed, s.counts[matcher]) for s in scores]
        right = share([(c.right, renamed) for renamed, c in counts])
        wrong, asked = sum(c.wrong for _, c in counts), sum(c.asked for _, c in counts)
        cells = [matcher, right, wrong, "", ""]
        if matcher not in BASELINES:
            cells[3:] = [asked, share([(c.among_two, c.asked) for _, c in counts])]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


INTRO: Final = """\
# Matching of renamed keys

Which key of an old state_dict became which of a new one, without guessing: what independent
evidence agrees on is `automatic`, the rest is `asked`, with candidates and what speaks for them.

```python
import torch
import codevault


def rows(module):
    owners = dict(module.named_modules())
    state = module.state_dict().items()
    return [(k, v.shape, v.dtype, type(owners[k.rpartition(".")[0]]).__name__) for k, v in state]


old = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4))
new = torch.nn.Sequential()
for name, layer in zip(("body", "act", "head"), old):
    new.add_module(name, layer)

match = codevault.match_state_dicts(rows(old), rows(new))
print(match.automatic, match.asked, match.dropped, match.added)
```

Where both versions can be built, a run of each tells more than names, order and shapes. Every
parameter gets values that its shape alone decides, so that both versions give the same outputs
before anybody knows which key became which. A parameter's gradient is then its role: equal in both
versions for the same parameter, and different for what only looks alike (query, key and value).

```python
obs = torch.ones(1, 4)
roles = (codevault.parameter_roles(old, [obs]), codevault.parameter_roles(new, [obs]))
match = codevault.match_state_dicts(rows(old), rows(new), roles=roles)
assert match.automatic["2.weight"] == "head.weight"
```

Roles say nothing where the function changed (then names and order are left), where outputs have no
gradient (a chosen action), and of twins whose outputs are added: these are asked.
`codevault diagnose` and `codevault migrate --suggest` run both versions on the recorded probe.

## What was measured

Written by `python -m benchmarks.matching`. Each case is a rename between two published
releases, with the mapping that the maintainers published or that equal outputs prove. Shares are
means over cases. `right` are renamed keys that got their true target without being asked; `wrong`
counts all keys that got another, also kept and dropped ones. Columns of others are right / wrong.
`not run` are cases that need what could not be installed, or have no outputs without it.
No error rate follows from so few cases.

Columns and rows `at first sight` are rows alone, matched before the matcher was changed. Two of its
changes came from looking at those cases. Numbered layers that became fewer are asked: a release
turned `norm2` into `norm_cross_attn` and `norm3` into `norm2`; names and order misread that
together, and so does its own converter. And of two equal sub-modules the one counts with which more
moves.
"""


def page(cases: Path = CASES) -> str:
    text = [INTRO]
    for title, folder in SETS.items():
        paths = sorted((cases / folder).glob("*.json"))
        found = [score(json.loads(path.read_text())) for path in paths]
        text += [f"### {title}", "", *summary(found), "", *table(found), ""]
    return "\n".join(text)


if __name__ == "__main__":
    DOC.write_text(page())
    print(DOC.read_text())
