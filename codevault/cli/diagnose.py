"""`codevault diagnose`: why a checkpoint does not run, or behave, in newer code."""

from __future__ import annotations

import contextlib
import sys

import click

from codevault.cli.output import echo, json_option
from codevault.errors import FINDING
from codevault.manifest import escaped


@click.command()
@click.argument("uri")
@click.option(
    "--against",
    default="current",
    show_default=True,
    metavar="DIR|COMMIT|current",
    help="The newer code: a folder, a full commit (of the checkpoint's repository, or "
    "REPOSITORY@COMMIT), or the modules that this Python imports.",
)
@json_option
def diagnose(uri: str, against: str, as_json: bool) -> None:
    """Find all that keeps a checkpoint from running in newer code; nothing is changed."""
    from codevault.evolve.diagnose import diagnose as run

    with contextlib.redirect_stdout(sys.stderr):  # both versions of the code may print
        found = run(uri, against)
    echo(as_json, found.as_data(), [escaped(line) for line in str(found).splitlines()])
    if found:
        sys.exit(FINDING)
