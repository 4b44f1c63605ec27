"""`docs/benchmarks.md`, made of the published runs and of nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks import budgets, forwardtable, loadtables, sections

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Run = dict[str, Any]

PLOTS: Final = {
    "gpu_forward": "![Ratios to native with their intervals](benchmarks/forward.svg)",
    "import_snapshot": "![CPU time of an import by number of modules](benchmarks/imports.svg)",
    "nodes": "![Seconds until all nodes are warm, by their number](benchmarks/nodes.svg)",
    "scale": "![Time, memory and collection by number of versions](benchmarks/scale.svg)",
}
HEAD: Final = """# Benchmarks

Made by `python -m benchmarks` from the runs in `benchmarks/results`. Ratios of one run with a
control arm: native code against the same native code. Where the control is off (by 1% for forward
passes, 5% for imports and weights, 10% for fetches), no ratio is claimed. Arms run interleaved,
in random order, with `PYTHON*` cleared. Budgets are *unresolved* where a run claims no figure, or
none was made.

## Budgets

"""
SECTIONS: Final[dict[str, tuple[str, Callable[[Sequence[Run]], str], str]]] = {
    "gpu_forward": (
        "Forward pass",
        forwardtable.gpu_forward,
        """First exactly: executed bytecodes, dispatched operators with shapes, the profiler's
lists of operators and kernels, and outputs are equal (these run as tests, with backward passes
and compiled forms, for published policies too). Then timed: native code against the same code
imported once more (*control*), with 2% more work (*planted*), and *isolated*; all arms share the
parameters' memory. Calls alternate one by one, in random order, so that most are hit by no
neighbour. What is planted is a loop, sized anew for each row and process by trials of two and six
times as much. Within one process two equal arms keep a difference (*one process*: its standard
deviation, of the control), by where their code lies in memory. So fresh processes import and build
the arms anew, each in a random order: 20, or at least 10 when 10 minutes are up; none is left out.
In them glibc keeps memory that is freed; otherwise the large outputs of some passes come anew from
the system at each call, which can take longer than the pass, and varies most. A ratio is the median
over processes of each one's median, its 95% interval from a bootstrap over processes, and blocks
within. A ratio of *isolated* is claimed only where the whole interval of the control lies within 1%
of 1, and that of the planted arm within 1% of 1.02; it is *equal* where its own is as near to one.
On the CPU verdicts rest on the thread's CPU time, which stands still while others have the
core.""",
    ),
    "import_snapshot": (
        "Import of a mounted package",
        sections.import_snapshot,
        """A generated package, fresh processes, CPU time, medians of rounds in random order, and of
each round's ratio. *Plain* reads `.pyc` files; *mounted* reads one code pack, hashes it, and serves
every module from it. What that saves is the file system, six calls a module. The rest, most of the
time, is the same in both: code is unmarshalled and run, and the collector walks it, so where
memory is slow the ratio is nearer to one. A first mount costs 0.4 ms whatever the size, which
a tree of 50 modules feels.""",
    ),
    "import_peers": (
        "Import beside other ways",
        sections.import_peers,
        """The same 200 modules by other ways to import code under another name or from one file,
torch loaded before, fresh processes, CPU time, medians, also of each round's ratio to plain import.
*Flat* is the code as one folder with relative imports only, all that transformers serves.""",
    ),
    "latency": (
        "Import where files answer late",
        sections.latency,
        """strace holds each system call that names a file, as a network file system would; warm
caches, fresh processes, wall time. *codevault* is `load_code` and the import of all 200 modules.
An injected delay, not a network file system.""",
    ),
    "warm_load": (
        "Warm load",
        sections.warm_load,
        """strace counts what `codevault.load_code` and the import of every module ask of the
system: opens, and system calls without those by which the allocator gets memory. The code rests on
that of an earlier commit, which takes one open and five calls more than code that is whole.""",
    ),
    "scale": (
        "Many versions in one process",
        sections.scale,
        """Versions of a package of 60 modules, each with three modules of its own, in the cache;
fresh processes load them and import every module. Python's garbage collector walks through all
that is loaded again and again; `gc.freeze()` after a load (the arm *freezing*: after each) takes it
out of every later collection. It concerns the whole process, so codevault leaves it to the
application.""",
    ),
    "compiling": (
        "Compiling many versions",
        sections.compiling,
        """Each version is compiled by `torch.compile` in one process; dynamo calls its backend
once a graph. The policy's file is the same in all versions, and a constant beside it differs.
*Shared*: the same with one code object for all, as a cache could hand out: beyond torch's limit of
recompilations the versions run uncompiled, without an error.""",
    ),
    "league": (
        "A league",
        loadtables.league,
        """Each match loads two checkpoints, each of one of many commits, plays, and lets both go,
in one process; *native* loads the same weights by safetensors into today's one version of the code.
A load through codevault checks trust and packages, audits the process, replays the probe.""",
    ),
    "storing": (
        "Many commits beside other ways",
        sections.storing,
        """Commits of one repository, each kept so that it is ready to run, by the tools
themselves. *uv* installs each into a folder of its own and builds a wheel, *hub* is the Hugging
Face hub's library asking a server on the loopback, *package* `torch.package`, *control* is
`git worktree` again. Nobody waits for the disk. *Warm* is a fresh process that gets the code of
all modules of the newest commit; only codevault verifies what it reads. Disk and inodes as `du`
says; compiled code apart.""",
    ),
    "weights": (
        "Weights",
        loadtables.weights,
        """From open to assigned with every page touched, both files in the page cache, fresh
processes, medians. `codevault` is `open_checkpoint`, the check that the digest was verified
before, mapping and assigning; the first load of a file hashes it once.""",
    ),
    "loading": (
        "A whole load",
        loadtables.loading,
        """From the call until every page of the weights was touched, and until the policy has
answered once; fresh processes, everything imported before, medians. *read* is the bytes alone: the
limit. *Cold*: the page cache was emptied of the files (the host below may still hold them).""",
    ),
    "saving": (
        "Saving",
        loadtables.saving,
        """How long a training step waits: `CheckpointManager.save` copies and lets a thread
write, `torch.save` of weights and optimizer waits for the disk. Wall time, medians.""",
    ),
    "second_prefetch": (
        "A second prefetch",
        loadtables.second_prefetch,
        """1,000 checkpoints of 50 commits on this machine, their repository behind git's HTTP
server on loopback, granted as a whole; fresh processes, CPU time, medians. *Manifests* opens the
same files and does nothing else.""",
    ),
    "nodes": (
        "Many nodes at once",
        sections.nodes,
        """*clone*: every node clones the repository and compiles it; *each*: every node prefetches
from the git server; *mirror*: one node publishes, the others prefetch over HTTP; *shared*: nobody
fetches, and one process on each node imports from one shared folder. One node's costs are measured
on loopback, from nothing to ready to run; of its own time only CPU counts. Servers that are asked
by many are a model, whose rates are assumptions: git hosts that refuse so many requests are not in
it. What imports cost themselves is left out, and CPU of the mirror's server: a folder behind a web
server, or a bucket.""",
    ),
    "startup": (
        "Start-up",
        sections.startup,
        """What the start-up file by which workers find splints costs a bare interpreter: CPU time
of fresh processes, medians.""",
    ),
    "cold_fetch": (
        "Cold fetch",
        sections.cold_fetch,
        """One commit from `git daemon` on the loopback, against `git fetch --depth 1` and a
checkout; fresh processes, CPU time of all their children, medians. The budget is about *call*:
what a fetch adds to a program that runs Python anyway, the import of the git library in it.
*Further* is a second fetch in one process; *process* is all of a Python that does nothing else.
The ratios are to git. Where a tree is small, those imports are what a first fetch costs: git is a
C program that starts in a few milliseconds.""",
    ),
    "audit": (
        "Audit",
        sections.audit,
        """A look before old code runs, one after it, and the comparison, in a process with a
usual application's modules; CPU time.""",
    ),
}


def render(runs: Sequence[Run]) -> str:
    """The page of some runs.

    Raises:
        ValueError: A run was quick, or is of an unknown benchmark.
    """
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        if run["quick"] or run["benchmark"] not in SECTIONS:
            raise ValueError(f"not a run to publish: {run['benchmark']}")
        by_name.setdefault(run["benchmark"], []).append(run)
    head = ["what", "budget", "verdict", "figure"]
    parts = [HEAD + sections.table(head, budgets.verdicts(by_name))]
    for name, (title, make, text) in SECTIONS.items():
        if name not in by_name:
            parts.append(f"## {title}\n\n`python -m benchmarks.{name}`: not published yet.\n")
            continue
        parts.append(f"## {title}\n\n`python -m benchmarks.{name}`. {text}\n")
        parts.append(make(by_name[name]).strip() + "\n")
        if name in PLOTS:
            parts.append(PLOTS[name] + "\n")
        parts += list(dict.fromkeys(_conditions(run) for run in by_name[name]))
    return "\n".join(parts)


def _conditions(run: Run) -> str:
    found = run["conditions"]
    told = f"Python {found['python']}, torch {found['torch']}"
    said = (
        f"*{found['date']}; {found['machine']}; {found['system']}; {told}; load {found['load']}.*"
    )
    remark = found.get("remark")
    return f"{said} {remark}\n" if remark else f"{said}\n"
