"""`codevault prefetch`: has the code of many checkpoints here before a run."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from codevault.cli.output import amount, counted, echo, interrupted, json_option, progress
from codevault.uri import shown
from codevault_cache import environ

if TYPE_CHECKING:
    from collections.abc import Callable

    from codevault.prefetching import PrefetchItem, PrefetchReport


def named(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the arguments that name checkpoints to a command."""
    lists = click.option(
        "--from-file",
        "lists",
        multiple=True,
        type=click.File(encoding="utf-8"),
        help="A file with one name a line; - is the standard input. Also: `-` as a name.",
    )
    uris: Callable[[Callable[..., None]], Callable[..., None]] = click.argument("uris", nargs=-1)
    return uris(lists(command))


def require_names(uris: tuple[str, ...], lists: tuple[Any, ...]) -> None:
    """Sees to it that a command was given names."""
    if not (uris or lists):
        raise click.UsageError("name checkpoints, run folders, patterns, or --from-file")


def all_names(uris: tuple[str, ...], lists: tuple[Any, ...]) -> list[str]:
    """The names of the command line, then those of the lists."""
    require_names(uris, lists)
    names = [uri for uri in uris if uri != "-"]
    files = [*lists, *([sys.stdin] if "-" in uris else [])]
    lines = [line.strip() for file in files for line in file]
    names += [line for line in lines if line and not line.startswith("#")]
    return names


@click.command()
@named
@click.option("--jobs", type=click.IntRange(1, 64), help="How many at once.")
@click.option("--weights", is_flag=True, help="Copy remote checkpoints here too, whole.")
@click.option("--pin", default="", metavar="NAME", help="Keep the snapshots until `unpin NAME`.")
@click.option("--ray", metavar="ADDRESS", help="On every node of this Ray cluster, such as auto.")
@click.option(
    "--deadline",
    type=click.FloatRange(1),
    metavar="SECONDS",
    help="When nodes of --ray are late; 600.",
)
@click.option("--slurm", is_flag=True, help="Only print the srun line for every node.")
@json_option
def prefetch(
    uris: tuple[str, ...],
    lists: tuple[Any, ...],
    jobs: int | None,
    weights: bool,
    pin: str,
    ray: str | None,
    deadline: float | None,
    slurm: bool,
    as_json: bool,
) -> None:
    """Have the code of checkpoints in the cache, compiled, so that loads need no network.

    A name is a checkpoint, a pattern (quote it: 's3://runs/**/*.mpt'), a run folder, or
    REPOSITORY@COMMIT. One that fails stops no other.
    """
    if deadline is not None and ray is None:
        raise click.UsageError("--deadline is for the nodes of --ray")
    if ray is not None and (weights or slurm):
        raise click.UsageError("--ray goes with neither --weights nor --slurm")
    if slurm:
        from codevault.cluster.slurm import srun_line

        require_names(uris, lists)
        options = [("--jobs", jobs and str(jobs)), ("--pin", pin)]
        options += [("--from-file", "-" if file.name == "<stdin>" else file.name) for file in lists]
        words = [word for name, value in options if value for word in (name, value)]
        flags = ["--weights"] * weights + ["--json"] * as_json
        click.echo(srun_line([*uris, *words, *flags]))
        return
    if ray is not None:
        from codevault.cli import nodes

        names = all_names(uris, lists)
        try:
            sys.exit(nodes.run(names, ray, deadline or 600.0, jobs, pin, as_json))
        except KeyboardInterrupt:
            interrupted("interrupted: the same command goes on from there")
    from codevault.prefetching import prefetch as run

    bars = sys.stderr.isatty() and sys.stdout.isatty() and not as_json
    ready = 0
    try:
        with progress("prefetching") as bar:

            def tell(item: PrefetchItem) -> None:
                nonlocal ready
                ready += item.error is None
                bar.step(item)
                if not bars or item.error is not None:
                    echo(as_json, row(item), lines(item))

            names = all_names(uris, lists)
            report = run(names, jobs=jobs, weights=weights, pin=pin, step=tell, found=bar.expect)
    except KeyboardInterrupt:
        interrupted(f"interrupted: {ready} ready; the same command goes on from there")
    echo(as_json, {"summary": summary(report)}, [in_words(report)])
    if (other := other_python()) is not None:
        click.echo(other, err=True)
    if report.failures:
        sys.exit(max(item.error.exit_code for item in report.failures if item.error))


def row(item: PrefetchItem) -> dict[str, Any]:
    """An item as `--json` prints it."""
    error = item.error.diagnostics() if item.error else None
    plain = {"uri": shown(item.uri), "status": item.status, "splint": item.splint}
    return {**plain, "seconds": round(item.seconds, 3), "error": error}


def lines(item: PrefetchItem) -> list[str]:
    """An item in words."""
    text = f"{item.status:<8} {item.seconds:6.2f} s  {shown(item.uri)}  {item.splint}".rstrip()
    return [text, *([str(item.error)] if item.error else [])]


def summary(report: PrefetchReport) -> dict[str, Any]:
    """The last line of `--json`."""
    return {
        "items": len(report.items),
        "snapshots": report.snapshots,
        "failures": len(report.failures),
        "requests": report.requests,
        "bytes": report.bytes,
        "mirrored": report.mirrored,
        "seconds": round(report.seconds, 3),
        "python": sys.implementation.cache_tag,
    }


def in_words(report: PrefetchReport) -> str:
    """The last line, for people."""
    done = len(report.items) - len(report.failures)
    asked = f"{report.requests} requests, {amount(report.bytes)}, {report.seconds:.2f} s"
    fetched = any(item.status == "fetched" for item in report.items)
    told = fetched and environ.mirror() is not None
    mirrored = f" ({report.mirrored} from the mirror)" if told else ""
    ready = f"{done} of {len(report.items)} ready"
    return f"{ready}, {counted(report.snapshots, 'snapshot')}{mirrored}; {asked}"


def other_python() -> str | None:
    """Says so if the shell's environment (venv or conda) has another Python than this command."""
    there = os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX", "")
    if not there or os.path.realpath(there) == os.path.realpath(sys.prefix):
        return None
    version = _version_in(there)
    here = [str(part) for part in sys.version_info[:2]]
    if version == here or len(version) < 2:
        return None
    return (
        f"compiled for Python {'.'.join(here)}; {there} has {'.'.join(version)}, which compiles "
        f"again at its first load: {os.path.join(there, 'bin', 'codevault')} prefetch ..."
    )


def _version_in(folder: str) -> list[str]:
    """Major and minor version of an environment's Python; neither where its files do not tell."""
    try:
        with open(os.path.join(folder, "pyvenv.cfg"), encoding="utf-8") as file:
            said = dict(line.replace(" ", "").strip().split("=", 1) for line in file if "=" in line)
        return (said.get("version") or said.get("version_info", "")).split(".")[:2]
    except OSError:  # conda's has none, but a link to its interpreter
        program = os.path.basename(os.path.realpath(os.path.join(folder, "bin", "python")))
        return re.findall(r"\d+", program)[:2]
