"""`codevault prefetch --ray`: what became of each node, in words and as JSON."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from codevault.cli.output import amount, counted, echo
from codevault.errors import FETCH
from codevault.uri import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault.cluster.reports import NodeReport, NodesReport
    from codevault.prefetchrun import PrefetchItem


def run(
    names: Sequence[str], address: str, seconds: float, jobs: int | None, pin: str, as_json: bool
) -> int:
    """Prefetches on every node, tells of each when it is done; the exit code."""
    from codevault.cluster.ray import prefetch

    out = sys.stdout

    def tell(done: NodeReport) -> None:
        with contextlib.redirect_stdout(out):
            echo(as_json, {"node": node_row(done)}, node_lines(done))

    # Ray prints what it has to say of nodes among the lines of its program.
    with contextlib.redirect_stdout(sys.stderr):
        report = prefetch(names, address, seconds=seconds, jobs=jobs, pin=pin, step=tell)
    for item in report.failures:
        echo(as_json, _item(item), [f"failed   {shown(item.uri)}", str(item.error)])
    found = summary(report)
    others = [f"{w}: {n}" for w, n in list(found.items())[2:5] if n]
    line = f"{found['ready']} of {found['nodes']} nodes ready"
    echo(as_json, {"summary": found}, ["; ".join([line, *others])])
    return exit_code(report)


def node_row(done: NodeReport) -> dict[str, Any]:
    """A node as `--json` prints it."""
    counts = {"items": 0, "snapshots": 0, "requests": 0, "bytes": 0}
    if done.report is not None:
        counts = {
            "items": len(done.report.items),
            "snapshots": done.report.snapshots,
            "requests": done.report.requests,
            "bytes": done.report.bytes,
        }
    failures = [_item(item) for item in done.report.failures] if done.report else []
    plain = {"node": done.node, "id": done.id, "status": done.status, "source": done.source}
    rest = {"seconds": round(done.seconds, 3), "error": done.error, "failures": failures}
    return plain | counts | rest


def node_lines(done: NodeReport) -> list[str]:
    """A node in words."""
    line = f"{done.status:<6} {done.seconds:6.2f} s  {done.node} {done.id[:8]}"
    if done.report is None:
        return [f"{line}  {done.error}"]
    asked = f"{done.report.requests} requests, {amount(done.report.bytes)}"
    failed = [
        text for i in done.report.failures for text in (f"failed   {shown(i.uri)}", str(i.error))
    ]
    return [
        f"{line}  {counted(done.report.snapshots, 'snapshot')} from {done.source}; {asked}",
        *failed,
    ]


def summary(report: NodesReport) -> dict[str, Any]:
    """The last line of `--json`."""
    words = [each.status for each in report.nodes]
    counts = {word: words.count(word) for word in ("ready", "failed", "dead", "late")}
    return {"nodes": len(words), **counts, "failures": len(report.failures)}


def exit_code(report: NodesReport) -> int:
    """The worst that was met; a node from which no answer came counts as a failed fetch."""
    items = [*report.failures, *(i for n in report.nodes if n.report for i in n.report.failures)]
    codes = [item.error.exit_code for item in items if item.error]
    return max([0, *codes, *(FETCH for each in report.nodes if each.report is None)])


def _item(item: PrefetchItem) -> dict[str, Any]:
    error = item.error.diagnostics() if item.error else None
    return {"uri": shown(item.uri), "status": item.status, "error": error}
