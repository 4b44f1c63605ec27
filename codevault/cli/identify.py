"""`codevault identify`: the commits that an old file without provenance can come from."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from codevault.cli.output import counted, echo, json_option

if TYPE_CHECKING:
    from codevault.identify.identifying import Identified
    from codevault.identify.ranking import Range
    from codevault_cache.commits import Commit

_RANGES: Final = 3
_VERSIONS: Final = 6
_FACTS: Final = 4
_DAY: Final = 24 * 60 * 60


@click.command()
@click.argument("old")
@click.option("--repo", required=True, help="A URL, or a path to a repository.")
@click.option("--since", metavar="DATE", help="Commits from this day on: 2025-06-01.")
@click.option("--until", metavar="DATE", help="Commits up to this day, with it.")
@click.option("--roots", multiple=True, help="A folder of the import path; in order.")
@click.option("--class", "class_path", default="", help="pkg.mod:Class that took the weights.")
@click.option("--build", is_flag=True, help="Run that repository's code: compare keys and shapes.")
@click.option("--arg", "arguments", multiple=True, help="NAME=JSON, an argument of the class.")
@click.option("--env", help="A JSON file with the environment description.")
@json_option
def identify(
    old: str,
    repo: str,
    since: str | None,
    until: str | None,
    roots: tuple[str, ...],
    class_path: str,
    build: bool,
    arguments: tuple[str, ...],
    env: str | None,
    as_json: bool,
) -> None:
    """Find the commits that an old file can come from, by what it holds and what their code says.

    Nothing of either runs, unless --build is given.
    """
    from codevault.convert.request import argument
    from codevault.identify.building import Plan
    from codevault.identify.identifying import Question
    from codevault.identify.identifying import identify as run

    if build and not class_path:
        raise click.UsageError("say what to build: --class pkg.mod:Class")
    plan = None
    if build:
        data = None
        if env is not None:
            with open(env, encoding="utf-8") as file:
                data = json.load(file)
        plan = Plan(repo, roots, class_path, dict(argument(text) for text in arguments), data)
    when = [None if since is None else _seconds(since), None if until is None else _end(until)]
    question = Question(old, repo, when[0], when[1], roots, class_path, plan)
    found = run(question, say=lambda line: click.echo(line, err=True))
    echo(as_json, _data(found), _lines(found, old))
    if found.ranking.ranges[0].misses:
        sys.exit(1)


def _seconds(text: str) -> int:
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is no date: write 2025-06-01") from None
    return int(read.replace(tzinfo=read.tzinfo or UTC).timestamp())


def _end(text: str) -> int:
    """The last second of a day, or the very time that is named."""
    return _seconds(text) + (_DAY - 1 if len(text.strip()) <= len("2025-06-01") else 0)


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _data(found: Identified) -> dict[str, Any]:
    traces, ranking = found.traces, found.ranking
    return {
        "form": traces.form,
        "written": traces.written and _date(traces.written),
        "modified": _date(traces.modified),
        "names": [".".join(name) for name in traces.names],
        "keys": {key: list(shape) for key, shape in traces.keys.items()},
        "facts": ranking.facts,
        "unexplained": [str(fact) for fact in ranking.unexplained],
        "ranges": [_range(each, found) for each in ranking.ranges],
        "commit": found.chosen.oid,
        "convert": found.line,
        "commits": found.commits,
        "files": found.files,
        "seconds": round(found.seconds, 3),
    }


def _range(each: Range, found: Identified) -> dict[str, Any]:
    return {
        "held": each.held,
        "lacks": [str(fact) for fact in each.lacks],
        "against": [str(fact) for fact in each.against],
        "commits": [commit.oid for commit in each.commits],
        "versions": [
            {
                "commits": [commit.oid for commit in version.commits],
                "built": found.built.get(version.commits[-1].oid),
            }
            for version in each.versions
        ],
    }


def _lines(found: Identified, old: str) -> list[str]:
    from codevault.manifest import escaped
    from codevault.uri import shown

    traces, ranking = found.traces, found.ranking
    dated = f"its zip says {_date(traces.written)}, " if traces.written else ""
    lines = [
        f"{shown(old)} is {traces.form}",
        f"{'written':<10} {dated}the file is of {_date(traces.modified)}",
        f"{'tells':<10} {ranking.facts} facts that some commit has, {len(ranking.unexplained)} "
        "that none has",
        f"{'read':<10} {found.files} files of {found.commits} commits in {found.seconds:.1f} s",
    ]
    for number, each in enumerate(ranking.ranges[:_RANGES], 1):
        lines += ["", f"{number}. {_span(each.commits)}: {each.held} of {ranking.facts} facts"]
        lines += _few([f"   lacks: {fact}" for fact in each.lacks])
        lines += _few([f"   but {fact}" for fact in each.against])
        if number == 1:
            lines += _versions(each, found)
    more = len(ranking.ranges) - _RANGES
    lines += [f"... and {more} ranges against which more speaks"] if more > 0 else []
    return [*map(escaped, lines), "", f"do: {found.line}"]


def _few(texts: list[str]) -> list[str]:
    more = len(texts) - _FACTS
    return texts[:_FACTS] + ([f"   ... and {more} more"] if more > 0 else [])


def _span(commits: tuple[Commit, ...]) -> str:
    first, last = commits[0], commits[-1]
    if len(commits) == 1:
        return f"{first.oid[:12]} of {_date(first.time)}, 1 commit"
    ends = f"{first.oid[:12]} .. {last.oid[:12]}"
    return f"{ends}, {_date(first.time)} .. {_date(last.time)}, {len(commits)} commits"


def _versions(each: Range, found: Identified) -> list[str]:
    lines = [
        f"   {counted(len(each.versions), 'version')} of the code that it names, newest first:"
    ]
    for version in each.versions[:_VERSIONS]:
        verdict = found.built.get(version.commits[-1].oid)
        said = "" if verdict is None else f": {verdict or 'takes the weights'}"
        lines.append(f"     {_span(version.commits)}{said}")
    more = len(each.versions) - _VERSIONS
    return lines + ([f"     ... and {more} more (--json lists them)"] if more > 0 else [])
