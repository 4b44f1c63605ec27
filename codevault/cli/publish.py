"""`codevault publish`: puts the code of checkpoints into a mirror, for other machines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from codevault.cli.output import amount, counted, echo, interrupted, json_option, progress
from codevault.cli.prefetch import all_names, named
from codevault.uri import shown

if TYPE_CHECKING:
    from codevault.cluster.publish import PublishItem


@click.command()
@named
@click.option("--to", required=True, metavar="URL", help="Such as s3://bucket/codevault.")
@click.option("--jobs", type=click.IntRange(1, 64), help="How many at once.")
@json_option
def publish(
    uris: tuple[str, ...], lists: tuple[Any, ...], to: str, jobs: int | None, as_json: bool
) -> None:
    """Put the code of checkpoints into a mirror; machines with CODEVAULT_MIRROR=URL take it.

    Names are those of `prefetch`. What the mirror has already is left as it is,
    unless it is damaged.
    """
    from codevault.cluster.publish import publish as run

    try:
        with progress("publishing") as bar:

            def tell(item: PublishItem) -> None:
                bar.step(item)
                echo(as_json, row(item), lines(item))

            items = run(all_names(uris, lists), to, jobs=jobs, step=tell)
    except KeyboardInterrupt:
        interrupted("interrupted: the same command goes on from there")
    codes = [item.error.exit_code for item in items if item.error]
    total = sum(item.bytes for item in items)
    data = {"snapshots": len(items) - len(codes), "failures": len(codes), "bytes": total}
    there = counted(len(items) - len(codes), "snapshot")
    line = f"{there} in the mirror, {amount(total)} written"
    echo(as_json, {"summary": data}, [line])
    if codes:
        sys.exit(max(codes))


def row(item: PublishItem) -> dict[str, Any]:
    """An item as `--json` prints it."""
    error = item.error.diagnostics() if item.error else None
    plain = {"uri": shown(item.uri), "status": item.status, "splint": item.splint}
    return {**plain, "bytes": item.bytes, "seconds": round(item.seconds, 3), "error": error}


def lines(item: PublishItem) -> list[str]:
    """An item in words."""
    text = f"{item.status:<9} {amount(item.bytes):>9}  {shown(item.uri)}  {item.splint}".rstrip()
    return [text, *([str(item.error)] if item.error else [])]
