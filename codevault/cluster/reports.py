"""What became of the nodes of a cluster, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codevault.prefetchrun import PrefetchItem, PrefetchReport


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What became of one node.

    Attributes:
        node: Its host name, as Ray has it.
        id: Ray's id of it.
        status: "ready", "failed" (see `report` and `error`), "dead", or "late".
        source: What its code came from: "git" (or wherever `prefetch` finds it), "mirror", or
            "object store".
        report: What became of each URI there; None where no answer came.
        error: Why it is not ready; empty for one that is.
        seconds: Wall time from the start of its task.
    """

    node: str
    id: str
    status: str
    source: str
    report: PrefetchReport | None
    error: str
    seconds: float


@dataclass(frozen=True, slots=True)
class NodesReport:
    """What became of all nodes.

    Attributes:
        failures: URIs that no node was asked for: they cannot be read, or have no grant.
        nodes: One for each node, in the order in which they were done.
    """

    failures: tuple[PrefetchItem, ...]
    nodes: tuple[NodeReport, ...]

    @property
    def ok(self) -> bool:
        """Whether every node has everything."""
        return not self.failures and all(each.status == "ready" for each in self.nodes)
