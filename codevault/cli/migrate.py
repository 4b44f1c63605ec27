"""`codevault migrate`: moves a checkpoint to newer code, with the probe as proof."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import tempfile
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from codevault.cli.output import echo, json_option, naming
from codevault.errors import FINDING, RulesError
from codevault.migration.request import request_of

if TYPE_CHECKING:
    from codevault.migration.migrating import Migration
    from codevault.migration.request import Request

_ROWS: Final = 20
"""How many keys are listed; all of them are in the JSON."""


@click.command()
@click.argument("uri")
@click.option("-o", "--output", help="The checkpoint to write.")
@click.option("--to", metavar="CODE", help="A folder, a full commit, or REPOSITORY@COMMIT.")
@click.option("--rules", multiple=True, metavar="FILE", help="A rules file; in order.")
@click.option("--roots", multiple=True, help="A folder of the newer code's import path; in order.")
@click.option("--overlay", help="A folder whose files are laid over a commit, and travel along.")
@click.option(
    "--suggest",
    is_flag=False,
    flag_value="rules.toml",
    metavar="[FILE]",
    help="Write a rules file as far as it can be known, rules.toml, and nothing else.",
)
@click.option("--workspace", metavar="FOLDER", help="Lay out all that a hard case needs there.")
@click.option("--dry-run", is_flag=True, help="Try it, and write nothing.")
@click.option("--accept-drift", is_flag=True, help="Write it although outputs differ; recorded.")
@json_option
def migrate(
    uri: str,
    output: str | None,
    to: str | None,
    rules: tuple[str, ...],
    roots: tuple[str, ...],
    overlay: str | None,
    suggest: str | None,
    workspace: str | None,
    dry_run: bool,
    accept_drift: bool,
    as_json: bool,
) -> None:
    """Move a checkpoint to newer code by rules; it is written only if its probe agrees.

    The newer code is the work tree around this folder, or what --to names. Without --rules, the
    rules files of that code are taken ([tool.codevault] migrations).
    """
    if [output is not None, suggest is not None, workspace is not None, dry_run].count(True) != 1:
        raise click.UsageError("say one of -o new.mpt, --dry-run, --suggest and --workspace")
    if (suggest or workspace) and accept_drift:
        raise click.UsageError("--accept-drift goes with -o and --dry-run")
    asked = request_of(uri, to, rules or None, roots or None, overlay)
    if workspace is not None:
        _workspace(asked, workspace, as_json)
        return
    if suggest is not None:
        _suggest(asked, suggest, as_json)
        return
    from codevault.migration.migrating import migrate as run

    with naming(uri), _quiet():
        done = run(
            uri,
            output,
            to=to,
            rules=rules or None,
            roots=roots or None,
            overlay=overlay,
            accept_drift=accept_drift,
        )
    echo(as_json, _data(done, output), _lines(done, uri, output))


def _quiet() -> contextlib.AbstractContextManager[Any]:
    """Both versions of the code may print; that is none of the result."""
    return contextlib.redirect_stdout(sys.stderr)


def _suggest(asked: Request, path: str, as_json: bool) -> None:
    """Writes a rules file; the exit code says whether it leaves something open."""
    from codevault.migration.suggestion import suggest_rules

    if os.path.lexists(path):
        raise click.UsageError(f"{path} is there already, and may hold answers: --suggest OTHER")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise click.UsageError(f"there is no folder {folder}: mkdir -p {shlex.quote(folder)}")
    with naming(asked.uri), _quiet():
        found = suggest_rules(
            asked.uri, to=asked.to, rules=asked.rules, roots=asked.roots, overlay=asked.overlay
        )
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(found.text)
    except OSError as error:
        raise RulesError(
            f"the rules file {path} cannot be written",
            error.strerror or str(error),
            asked.command("--suggest", os.path.join(tempfile.gettempdir(), "rules.toml")),
        ) from error
    data = {"rules": path, **asdict(found)}
    then = {True: ("-o", "new.mpt"), None: ("--dry-run",), False: ("--workspace", "FOLDER")}
    words = ("--rules", path, *then[found.agrees])
    lines = [f"wrote {path}: {found.note}", f"to move on   {asked.command(*words)}"]
    echo(as_json, data, lines)
    if not found.agrees:
        sys.exit(FINDING)


def _workspace(asked: Request, folder: str, as_json: bool) -> None:
    from codevault.migration.workspace import lay_out

    with naming(asked.uri), _quiet():
        made = lay_out(asked, folder)
    data = {"workspace": made.folder, "check": made.check, "note": made.suggestion.note}
    lines = [f"wrote {made.folder}: {made.suggestion.note}", f"start with {made.folder}/README.md"]
    echo(as_json, data, lines)


def _data(done: Migration, output: str | None) -> dict[str, Any]:
    replay = done.replay
    return {
        "output": output,
        "source": done.source.checkpoint_digest,
        "checkpoint": None if done.manifest is None else done.manifest.checkpoint_digest,
        "policy": None if done.manifest is None else done.manifest.policy_digest,
        "target": done.target,
        "rules": list(done.rules),
        "class_path": done.class_path,
        "weights": {key: list(old) for key, old in done.weights.items()},
        "dropped": list(done.dropped),
        "difference": None if replay is None else replay.difference,
        "tolerance": None if replay is None else replay.tolerance,
        "skipped": [] if replay is None else list(replay.skipped),
        "drift": done.drift,
        "unseen": list(done.unseen),
    }


def _lines(done: Migration, uri: str, output: str | None) -> list[str]:
    from codevault.manifest import escaped
    from codevault.uri import shown

    source = done.source
    old = f"{source.repo or 'code that travels'} @ {(source.commit or 'no commit')[:12]}"
    lines = [shown(uri), f"from     {old}", f"to       {done.target}"]
    lines += [f"rules    {', '.join(done.rules) or 'none'}", f"builds   {done.class_path}"]
    # What is lost or made up comes first, so that it is seen.
    gone = [f"dropped {key}" for key in done.dropped]
    made = [f"filled {key}" for key, old in done.weights.items() if not old]
    went = [f"{' + '.join(o)} -> {key}" for key, o in done.weights.items() if o not in ((), (key,))]
    kept = sum(old == (key,) for key, old in done.weights.items())
    counts = f"{kept} kept, {len(went)} moved, {len(made)} filled, {len(gone)} dropped"
    lines.append(f"weights  {counts}")
    moves = [*gone, *made, *went]
    lines += [f"  {text}" for text in moves[:_ROWS]]
    lines += [f"  ... and {len(moves) - _ROWS} more" for _ in moves[_ROWS : _ROWS + 1]]
    lines.append(f"probe    {_probe(done)}")
    if done.replay is not None:
        lines += [f"  not compared: {text}" for text in done.replay.skipped]
    if done.unseen:
        names = ", ".join(done.unseen[:3]) + (", ..." if len(done.unseen) > 3 else "")
        lines.append(f"  it does not touch {len(done.unseen)} parameters: {names}")
    lines.append("nothing was written" if output is None else f"wrote {output}")
    return [escaped(line) for line in lines]


def _probe(done: Migration) -> str:
    if done.drift:
        return f"differs, accepted: {done.drift}"
    assert done.replay is not None
    return (
        f"agrees: {done.replay.compared} outputs, largest difference {done.replay.difference:.3g}"
    )
