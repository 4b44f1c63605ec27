"""The command's verbs, and how errors become exit codes.

Exit codes: 0 ok, 1 finding, 2 usage, 3 fetch, 4 refused.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from codevault.errors import FINDING, CodevaultError
from codevault.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable


class _Group(click.Group):
    """A group whose commands report codevault's errors as text or JSON, never as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CodevaultError as error:
            if "--json" in sys.argv:
                click.echo(json.dumps({"error": error.diagnostics()}))
            click.echo(f"codevault: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=_Group)
@click.version_option(VERSION, prog_name="codevault")
def main() -> None:
    """Run a trained policy with the code it was trained on, next to today's code."""


def _json_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")(command)


def _echo(as_json: bool, data: Any, lines: list[str]) -> None:
    click.echo(json.dumps(data) if as_json else "\n".join(lines))


@main.command()
@_json_option
def demo(as_json: bool) -> None:
    """Save a policy, change its code, and load it with the old code: in a temporary folder."""
    from codevault.demo import demo as run

    data = run(say=(lambda _: None) if as_json else click.echo)
    if as_json:
        click.echo(json.dumps(data))


@main.command()
@click.argument("uri")
@_json_option
def show(uri: str, as_json: bool) -> None:
    """Print what a checkpoint says of its code, packages and probe; nothing of it runs."""
    from codevault.show import card, read_manifest
    from codevault.uri import shown

    manifest = read_manifest(uri)
    lines = [f"{label:<11} {value}" for label, value in card(manifest)]
    _echo(as_json, manifest.model_dump(mode="json"), [shown(uri), *lines])


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


@main.command()
@click.argument("uris", nargs=-1, required=True)
@click.option("--jobs", type=click.IntRange(1, 64), help="How many at once.")
@_json_option
def prefetch(uris: tuple[str, ...], jobs: int | None, as_json: bool) -> None:
    """Have the code of checkpoints (or repository@commit) in the cache, compiled."""
    from codevault.prefetching import prefetch as run

    report = run(uris, jobs=jobs)
    for item in report.items:
        row = {"uri": item.uri, "status": item.status, "splint": item.splint}
        row |= {"seconds": round(item.seconds, 3)}  # type: ignore[dict-item]
        row |= {"error": item.error.diagnostics() if item.error else None}  # type: ignore[dict-item]
        text = f"{item.status:<8} {item.seconds:6.2f} s  {item.uri}  {item.splint}"
        _echo(as_json, row, [text, *([str(item.error)] if item.error else [])])
    if not as_json:
        done = len(report.items) - len(report.failures)
        click.echo(f"{done} of {len(report.items)} ready, {report.snapshots} snapshots")
    if report.failures:
        codes = {item.error.exit_code for item in report.failures if item.error}
        sys.exit(max(codes, default=FINDING))


@main.group()
def trust() -> None:
    """What may run here: repositories, commits and checkpoints."""


@trust.command("add")
@click.argument("patterns", nargs=-1, required=True)
def trust_add(patterns: tuple[str, ...]) -> None:
    """Grant https://host/owner/repo, …@COMMIT, or sha256:CHECKPOINT the right to run."""
    from codevault.grants import add

    for pattern in patterns:
        click.echo(f"granted {add(pattern)}")


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


@main.group()
def cache() -> None:
    """The store of snapshots on this machine."""


@cache.command("dir")
def cache_dir() -> None:
    """Print where the cache is."""
    from codevault_cache import Cache

    click.echo("\n".join(Cache.open().roots))


@cache.command("ls")
@_json_option
def cache_ls(as_json: bool) -> None:
    """List the snapshots."""
    from codevault_cache import Cache

    for entry in Cache.open().ls():
        row = {
            "splint": entry.snapshot.name,
            "repo": entry.snapshot.repo,
            "commit": entry.snapshot.commit,
            "files": entry.files,
            "bytes": entry.size,
        }
        text = f"{entry.snapshot.name}  {entry.files:5} files  {entry.size:10} bytes  "
        _echo(as_json, row, [text + (entry.snapshot.repo or "")])


@cache.command("verify")
@_json_option
def cache_verify(as_json: bool) -> None:
    """Hash everything again; what is damaged is set aside, and fetched again when needed."""
    from codevault_cache import Cache

    report = Cache.open().verify()
    bad = [{"path": bad.path, "why": bad.why} for bad in report.bad]
    counts = {"packs": report.packs, "records": report.records, "files": report.files}
    lines = [f"bad: {row['path']}: {row['why']}" for row in bad]
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    _echo(as_json, {**counts, "bad": bad}, [*lines, f"checked {summary}; {len(bad)} bad"])
    if not report.ok:
        sys.exit(FINDING)
