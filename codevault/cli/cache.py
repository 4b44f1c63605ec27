"""`codevault cache`: the store of snapshots on this machine."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from codevault.cli.output import AGE, SIZE, amount, echo, json_option, progress
from codevault.errors import FINDING, CodeError

if TYPE_CHECKING:
    from codevault_cache import Cache, Entry
    from codevault_cache.collect import Item, Plan


def _cache() -> Cache:
    from codevault.checkpointcode import open_cache

    return open_cache(None)


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


@click.group()
def cache() -> None:
    """The store of snapshots on this machine."""


@cache.command("dir")
@json_option
def cache_dir(as_json: bool) -> None:
    """Print the cache's folders; the first is written, the rest are read only."""
    for root in _cache().roots:
        if not as_json:
            click.echo(root)
            continue
        from codevault_cache.usage import Usage

        usage = Usage(root)
        echo(True, {"path": root, "bytes": usage.bytes, "inodes": usage.count}, [])


_ORDERS: dict[str, Any] = {
    "name": lambda entry: entry.snapshot.name,
    "repo": lambda entry: (entry.snapshot.repo or "", entry.used),
    "used": lambda entry: entry.used,
    "size": lambda entry: entry.size,
    "files": lambda entry: entry.files,
}


@cache.command("ls")
@click.option("--sort", type=click.Choice(list(_ORDERS)), default="used", show_default=True)
@click.option("--filter", "text", default="", help="Only names, commits and repositories with it.")
@json_option
def cache_ls(sort: str, text: str, as_json: bool) -> None:
    """List the snapshots; sizes are what `du` says, shared files counted with each."""
    from codevault_cache.usage import allocated

    vault = _cache()
    found = ((e, f"{e.snapshot.name} {e.snapshot.commit} {e.snapshot.repo}") for e in vault.ls())
    shown = [entry for entry, said in found if text in said]
    for snapshot, entry in ((e.snapshot, e) for e in sorted(shown, key=_ORDERS[sort])):
        row = {
            "splint": snapshot.name,
            "repo": snapshot.repo,
            "commit": snapshot.commit,
            "digest": snapshot.digest,
            "root": entry.root,
            "files": entry.files,
            "bytes": entry.size,
            "used": _when(entry.used),
            "pinned": entry.pinned,
        }
        pin = "pinned" if entry.pinned else ""
        line = f"{snapshot.name}  {entry.files:6} files {amount(entry.size):>9}  "
        line += f"{_when(entry.used)[:10]}  {pin:6}  {snapshot.repo or ''}"
        echo(as_json, row, [line.rstrip()])
    if not as_json:
        total = amount(allocated(vault.roots))
        click.echo(f"{len(shown)} snapshots; {total} in {', '.join(vault.roots)}")


@cache.command("verify")
@click.option("--repair", "repairs", is_flag=True, help="Set damage aside, and fetch it again.")
@json_option
def cache_verify(repairs: bool, as_json: bool) -> None:
    """Hash everything again: packs, records, laid-out files, compiled code."""
    vault = _cache()
    with progress("hashing") as bar:
        from codevault_cache.verify import verify

        report = verify(vault, bar.step)
    bad = [{"path": bad.path, "why": bad.why} for bad in report.bad]
    counts = {
        "packs": report.packs,
        "records": report.records,
        "files": report.files,
        "code": report.code,
    }
    data: dict[str, Any] = {**counts, "bad": bad}
    lines, left = [f"bad: {row['path']}: {row['why']}" for row in bad], len(bad)
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    lines.append(f"checked {summary}; {left} bad")
    if repairs:
        from codevault_cache.repair import repair

        done = repair(vault, report)
        left -= len(done.set_aside)
        data |= {"set_aside": done.set_aside, "healed": done.healed, "waiting": done.waiting}
        lines += [f"set aside: {path}" for path in done.set_aside]
        lines += [f"whole again: {name}" for name in done.healed]
        lines += [f"fetched by its next load: {name}: {why}" for name, why in done.waiting]
    elif bad:
        lines.append("codevault cache verify --repair sets it aside, and fetches it again")
    echo(as_json, data, lines)
    if left:
        sys.exit(FINDING)


@cache.command("gc")
@click.option("--max-size", type=SIZE, help="Disk space that may stay, such as 2GB.")
@click.option("--max-age", type=AGE, help="Longest time without use, such as 90d.")
@click.option("--dry-run", is_flag=True, help="Only print what would go.")
@json_option
def cache_gc(max_size: int | None, max_age: int | None, dry_run: bool, as_json: bool) -> None:
    """Remove what is unused; without limits, those of the daily collection: 10 GiB, 90 days.

    Pinned snapshots, those of running processes, and those used in the last hour stay.
    """
    from codevault_cache.collect import plan

    stated = max_size is not None or max_age is not None
    planned = plan(_cache(), max_size, max_age) if stated else plan(_cache())
    _collected(planned, dry_run, as_json)
    if max_size is not None and planned.after > max_size and not as_json:
        click.echo("what is pinned, in use, or was used in the last hour stays")


def _collected(planned: Plan, dry_run: bool, as_json: bool) -> None:
    from codevault_cache.collect import collect
    from codevault_cache.usage import allocated

    def row(item: Item, status: str) -> None:
        data = {"kind": item.kind, "name": item.name, "used": _when(item.used), "status": status}
        text = f"{status:<12} {item.kind:<10} {_when(item.used)[:10]}  {item.name}"
        echo(as_json, data, [text])

    after, kept = planned.after, 0
    if dry_run:
        for item in planned.items:
            row(item, "would remove")
    else:
        with progress("removing", len(planned.items)) as bar:
            done = collect(planned, bar.step)
        for item in done.removed:
            row(item, "removed")
        for item in done.kept:
            row(item, "kept")
        after, kept = allocated(planned.cache.roots[:1]), len(done.kept)
    total = {"before": planned.before, "after": after, "kept": kept, "dry_run": dry_run}
    total["items"] = len(planned.items)
    freed = f"{'would free' if dry_run else 'freed'} {amount(planned.before - after)}"
    echo(as_json, total, [f"{freed}; {amount(after)} left, {kept} kept"])


def _names(vault: Cache, given: tuple[str, ...]) -> list[str]:
    """Splint names, from names, parts of names, commits or checkpoints."""
    known = vault.ls()
    names = []
    for text in given:
        if text.endswith(".mpt") or os.path.exists(text):
            from codevault.checkpointcode import snapshot_of
            from codevault.show import read_manifest

            names.append(snapshot_of(read_manifest(text)).name)
            continue
        found = [entry.snapshot.name for entry in known if _is_meant(entry, text)]
        if len(found) != 1:
            raise CodeError(
                f"{text!r} names {len(found) or 'no'} snapshots",
                ", ".join(found[:5]) or "neither a name nor a commit in the cache begins so",
                "codevault cache ls",
            )
        names += found
    return names


def _is_meant(entry: Entry, text: str) -> bool:
    starts = (entry.snapshot.name, entry.snapshot.name.removeprefix("_splint_"))
    return text != "" and any(s.startswith(text) for s in (*starts, entry.snapshot.commit or ""))


_named = click.argument("names", nargs=-1, required=True)


@cache.command("pin")
@_named
@json_option
def cache_pin(names: tuple[str, ...], as_json: bool) -> None:
    """Keep snapshots (names, commits or checkpoints), whatever is collected."""
    from codevault_cache.pins import pin

    vault = _cache()
    for name in _names(vault, names):
        pin(vault, name)
        echo(as_json, {"splint": name, "pinned": True}, [f"pinned {name}"])


@cache.command("unpin")
@_named
@json_option
def cache_unpin(names: tuple[str, ...], as_json: bool) -> None:
    """Let snapshots, or all that a `prefetch --pin NAME` pinned, be collected again."""
    from codevault_cache.holdings import pinned
    from codevault_cache.pins import groups, unpin, unpin_group

    vault = _cache()
    known = groups(vault)
    for group in known.intersection(names):
        count = unpin_group(vault, group)
        echo(as_json, {"group": group, "unpinned": count}, [f"unpinned {group}: {count} snapshots"])
    for name in _names(vault, tuple(name for name in names if name not in known)):
        unpin(vault, name)
        echo(as_json, {"splint": name, "pinned": name in pinned(vault.roots)}, [f"unpinned {name}"])


@cache.command("rm")
@click.argument("names", nargs=-1)
@click.option("--all", "all_of_it", is_flag=True, help="All that is neither pinned nor in use.")
@json_option
def cache_rm(names: tuple[str, ...], all_of_it: bool, as_json: bool) -> None:
    """Remove snapshots (names, commits or checkpoints); their next load fetches them."""
    from codevault_cache.collect import everything
    from codevault_cache.pins import rm

    if bool(names) == all_of_it:
        raise click.UsageError("name snapshots, or say --all")
    vault = _cache()
    if all_of_it:
        _collected(everything(vault), False, as_json)
    for name in _names(vault, names):
        freed = rm(vault, name)
        echo(as_json, {"splint": name, "freed": freed}, [f"removed {name}: {amount(freed)}"])
