"""`codevault diff`: what changed between two snapshots."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from codevault.cli.output import echo, json_option

if TYPE_CHECKING:
    from codevault.diff.difference import Difference, Fact
    from codevault.diff.sides import Side
    from codevault.evolve.codediff import ModuleChange


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--stat", is_flag=True, help="Only the summary, without the lines of code.")
@click.option("--modules", multiple=True, metavar="NAME", help="Only this module, and its imports.")
@click.option("--roots", multiple=True, help="A folder of the import path of commits; in order.")
@json_option
def diff(
    old: str,
    new: str,
    stat: bool,
    modules: tuple[str, ...],
    roots: tuple[str, ...],
    as_json: bool,
) -> None:
    """Print what changed between two snapshots, in the code that the policy loads.

    OLD and NEW are checkpoints, REPOSITORY@COMMIT, folders as they are now, or full commits.
    """
    from codevault.diff.difference import difference

    found = difference(old, new, roots=roots, modules=modules)
    echo(as_json, _data(found, stat), _lines(found, stat))


def _data(found: Difference, stat: bool) -> dict[str, Any]:
    return {
        "old": _side(found.old),
        "new": _side(found.new),
        "compared": list(found.compared),
        "modules": [
            {k: v for k, v in asdict(each).items() if not (stat and k == "diff")}
            for each in found.modules
        ],
        "snapshot": [asdict(fact) for fact in found.snapshot],
        "architecture": _facts(found.architecture),
        "packages": _facts(found.packages),
        "weights": found.weights,
    }


def _facts(facts: tuple[Fact, ...] | None) -> list[dict[str, Any]] | None:
    return None if facts is None else [asdict(fact) for fact in facts]


def _side(each: Side) -> dict[str, Any]:
    from codevault.diff.difference import overlaid
    from codevault.uri import shown

    snapshot = each.snapshot
    return {
        "uri": shown(each.named.text),
        "repo": snapshot.repo,
        "commit": snapshot.commit,
        "digest": snapshot.digest,
        "splint": snapshot.name,
        "overlay": overlaid(each),
    }


def _lines(found: Difference, stat: bool) -> list[str]:
    from codevault.diff.difference import overlaid, place_of
    from codevault.manifest import escaped
    from codevault.uri import shown

    lines = []
    for label, each in (("old", found.old), ("new", found.new)):
        more = overlaid(each)
        over = f" + {len(more)} uncommitted or unpushed" if more else ""
        name = f"{shown(each.named.text)}: " if each.named.pinned else ""
        lines.append(f"{label:<13} {name}{place_of(each)}{over}")
    lines.append(f"{'code':<13} {_sum(found)}")
    lines += [f"  {each.kind:<11} {_module(each)}" for each in found.modules]
    lines += [f"{fact.name:<13} {_values(fact)}" for fact in found.snapshot]
    for label, facts in (("architecture", found.architecture), ("packages", found.packages)):
        if facts is not None:
            lines.append(f"{label:<13} {len(facts) or 'nothing'} different")
            lines += [f"  {fact.name}: {_values(fact)}" for fact in facts]
    if found.weights is not None:
        lines.append(f"{'weights':<13} {'the same bytes' if found.weights else 'different'}")
    lines = [escaped(line) for line in lines]
    if not stat:
        for change in found.modules:
            lines += ["", *(_code(line) for line in change.diff.rstrip("\n").split("\n"))]
    return lines


def _sum(found: Difference) -> str:
    old, new = found.compared
    counted = f"{new}" if old == new else f"{old} and {new}"
    plus, minus = (sum(getattr(m, k) for m in found.modules) for k in ("added", "removed"))
    what = f"{len(found.modules)} different, +{plus} -{minus}" if found.modules else "no difference"
    return f"{counted} own modules, {what}"


def _module(each: ModuleChange) -> str:
    names = [name for name in (each.old, each.new) if name is not None]
    name = " -> ".join(dict.fromkeys(names))
    paths = f"  ({each.old_path} -> {each.new_path})" if each.kind == "moved" else ""
    return f"{name}  +{each.added} -{each.removed}{paths}"


def _values(fact: Fact) -> str:
    return f"{_value(fact.old)} -> {_value(fact.new)}"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _code(line: str) -> str:
    """A line of code as it is, but for what would move or hide text on a terminal."""
    from codevault.manifest import escaped

    return "\t".join(map(escaped, line.split("\t")))
