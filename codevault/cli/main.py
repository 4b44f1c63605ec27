"""The command's verbs, and how errors become exit codes.

Exit codes: 0 ok, 1 finding, 2 usage, 3 fetch, 4 refused.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from typing import Any, Final

import click

from codevault.cli.cache import cache
from codevault.cli.convert import convert
from codevault.cli.diagnose import diagnose
from codevault.cli.diff import diff
from codevault.cli.identify import identify
from codevault.cli.lint import lint
from codevault.cli.migrate import migrate
from codevault.cli.output import echo as _echo
from codevault.cli.output import json_line
from codevault.cli.output import json_option as _json_option
from codevault.cli.prefetch import prefetch
from codevault.cli.publish import publish
from codevault.errors import FINDING, CodevaultError
from codevault.version import VERSION
from codevault_cache.errors import CacheError

_LATE: Final = frozenset({"torch", "numpy", "safetensors", "pydantic", "yaml", "fsspec", "dulwich"})
"""Packages that not every command imports: a machine that only fetches may be without them."""


class _Group(click.Group):
    """A group whose commands report codevault's errors as text or JSON, never as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        error: CodevaultError
        try:
            return super().invoke(ctx)
        except (CodevaultError, CacheError) as caught:
            from codevault.checkpointcode import as_codevault_error

            error = as_codevault_error(caught) if isinstance(caught, CacheError) else caught
        except ModuleNotFoundError as caught:
            if caught.name not in _LATE:
                raise
            error = _lacking(caught.name)
        if "--json" in sys.argv:
            click.echo(json_line({"error": error.diagnostics()}))
        click.echo(f"codevault: {error}", err=True)
        return ctx.exit(error.exit_code)


def _lacking(package: str) -> CodevaultError:
    error = CodevaultError(
        f"this command needs the package {package!r}, which is not installed here",
        f"{sys.executable} does not find it",
        shlex.join([sys.executable, "-m", "pip", "install", package]),
    )
    error.reference = "missing-package"
    return error


@click.group(cls=_Group)
@click.version_option(VERSION, prog_name="codevault")
def main() -> None:
    """Run a trained policy with the code it was trained on, next to today's code."""


@main.command()
@_json_option
def demo(as_json: bool) -> None:
    """Save a policy, change its code, and load it with the old code: in a temporary folder."""
    from codevault.demo import demo as run

    data = run(say=(lambda _: None) if as_json else click.echo)
    if as_json:
        click.echo(json_line(data))


@main.command()
@click.argument("uri")
@_json_option
def show(uri: str, as_json: bool) -> None:
    """Print what a checkpoint says of its code, packages and probe; nothing of it runs."""
    from codevault.cli.card import card
    from codevault.packages import judge
    from codevault.show import look
    from codevault.uri import shown

    seen = look(uri)
    verdicts = judge(seen.manifest.python, seen.manifest.packages, None)
    data = seen.manifest.model_dump(mode="json")
    data |= {"bytes": seen.size, "members": dict(seen.members)}
    data |= {"verdicts": [asdict(verdict) for verdict in verdicts]}
    _echo(as_json, data, [shown(uri), *card(seen, verdicts)])


@main.command()
@click.argument("uri")
@_json_option
def verify(uri: str, as_json: bool) -> None:
    """Hash every part of a checkpoint, load it, and replay its probe."""
    from codevault.verify import verify as run

    data = run(uri)
    _echo(as_json, data, [f"{key:<8} {value}" for key, value in data.items()])
    if not data["ok"]:
        sys.exit(FINDING)


@main.group()
def trust() -> None:
    """What may run here: repositories, commits and checkpoints."""


@trust.command("add")
@click.argument("patterns", nargs=-1, required=True)
@click.option(
    "--signed-by",
    metavar="SSHKEY",
    help="Demand commits signed by this OpenSSH public key (text, or a .pub file).",
)
def trust_add(patterns: tuple[str, ...], signed_by: str | None) -> None:
    """Grant https://host/owner/repo, …@COMMIT, or sha256:CHECKPOINT the right to run."""
    from codevault.grants import add, signed

    for pattern in patterns:
        click.echo(f"granted {add(pattern if signed_by is None else signed(pattern, signed_by))}")


@trust.command("ls")
@_json_option
def trust_ls(as_json: bool) -> None:
    """List the grants."""
    from codevault.grants import user_grants

    grants = [str(grant) for grant in user_grants()]
    _echo(as_json, grants, grants or ["no grants"])


@trust.command("rm")
@click.argument("patterns", nargs=-1, required=True)
def trust_rm(patterns: tuple[str, ...]) -> None:
    """Take grants back."""
    from codevault.grants import remove

    for pattern in patterns:
        click.echo(f"removed {remove(pattern)}")


@trust.command("log")
@_json_option
def trust_log(as_json: bool) -> None:
    """What was loaded, and why it was allowed; the newest last."""
    from codevault.loadlog import lines

    found = lines()

    def ran(line: dict[str, Any]) -> str:
        # Without a splint the application's own code ran, whatever commit the checkpoint names.
        return line["commit"] or "-" if line["splint"] else "current code"

    texts = [f"{n['time']}  {n['uri']}  {ran(n)}  {n['allowed']}" for n in found]
    _echo(as_json, found, texts or ["no loads"])


main.add_command(cache)
main.add_command(convert)
main.add_command(diagnose)
main.add_command(diff)
main.add_command(identify)
main.add_command(lint)
main.add_command(migrate)
main.add_command(prefetch)
main.add_command(publish)
