"""`codevault diagnose`: why a checkpoint does not run, or behave, in newer code."""

from __future__ import annotations

import contextlib
import sys

import click

from codevault.cli.output import echo, json_option, naming
from codevault.errors import FINDING
from codevault.manifest import escaped


@click.command()
@click.argument("uri")
@click.option(
    "--against",
    metavar="DIR|COMMIT|current",
    help="The newer code: a folder, a full commit (of the checkpoint's repository, or "
    "REPOSITORY@COMMIT), or the modules that this Python imports. Without it, the git work tree "
    "around this folder, if that has the checkpoint's modules; else current.",
)
@json_option
def diagnose(uri: str, against: str | None, as_json: bool) -> None:
    """Find all that keeps a checkpoint from running in newer code; nothing is changed."""
    from codevault.evolve.against import around
    from codevault.evolve.diagnose import diagnose as run
    from codevault.show import read_manifest

    what = around(read_manifest(uri)) if against is None else against
    with naming(uri), contextlib.redirect_stdout(sys.stderr):  # both versions of the code may print
        found = run(uri, what)
    echo(as_json, found.as_data(), [escaped(line) for line in str(found).splitlines()])
    if found:
        sys.exit(FINDING)
