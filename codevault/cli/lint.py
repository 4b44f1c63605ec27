"""`codevault lint`: the boundary between application and policy code."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from dataclasses import asdict

import click

from codevault.cli.output import echo, json_option
from codevault.errors import FINDING, UsageError


@click.command()
@click.argument("path", default=".", type=click.Path(exists=True, file_okay=False))
@click.option("--against", metavar="COMMIT", help="Compare the API of shared modules with it.")
@click.option("--stat", is_flag=True, help="Only how many there are of each kind.")
@json_option
def lint(path: str, against: str | None, stat: bool, as_json: bool) -> None:
    """Check that application code reaches policies only through shared modules.

    PATH is the project's folder. Nothing of it runs.
    """
    from codevault.diff.sides import is_commit
    from codevault.lint.linting import lint as run
    from codevault.lint.rules import NOTES
    from codevault.manifest import escaped

    if against is not None and not is_commit(against):
        here, name = shlex.quote(path), shlex.quote(against)
        raise UsageError(
            f"{ascii(against)[:100]} is not a full commit",
            "branches, tags and short ids may name other code tomorrow",
            f"codevault lint {here} --against $(git -C {here} rev-parse {name})",
        )
    report = run(path, against=against)
    kinds = Counter(finding.kind for finding in report.findings)
    lines = [
        f"{f.path}:{f.line}: {'note: ' if f.kind in NOTES else ''}{escaped(f.what)} [{f.kind}]"
        for f in report.findings
        if not stat
    ]
    lines += [f"{count:>5} {kind}" for kind, count in sorted(kinds.items())]
    counted = ", ".join(f"{count} {part}" for part, count in report.modules.items())
    lines.append(f"modules: {counted}; {report.imports} imports followed")
    if not report.declares:
        lines.append("note: the project declares no packages, so that none is undeclared")
    if not report.modules["application"]:
        lines.append('note: all is policy code: state policies = ["pkg"] in [tool.codevault]')
    data = {
        "findings": [asdict(finding) for finding in report.findings],
        "kinds": dict(kinds),
        "modules": dict(report.modules),
        "imports": report.imports,
        "declares": report.declares,
        "ok": report.ok,
    }
    echo(as_json, data, lines)
    if not report.ok:
        sys.exit(FINDING)
