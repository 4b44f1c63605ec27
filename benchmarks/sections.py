"""The page's tables: from a benchmark's runs to text. What is not claimed says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Run = dict[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def claimed(found: dict[str, Any], key: str, form: str = ".3f") -> str:
    """A figure, or that it is not claimed: benchmarks leave it out where the control is off."""
    value = found.get(key)
    return "not claimed" if value is None else format(value, form)


def import_snapshot(runs: Sequence[Run]) -> str:
    head = ["Python", "modules", "plain, ms", "mounted, ms", "ratio", "control"]
    keys = ("from_import_ratio", "host_import_ratio")
    rows = [
        [
            run["conditions"]["python"],
            row["modules"],
            *(f"{row['medians'][arm]['cpu_ms']:.1f}" for arm in ("plain", "mounted")),
            claimed(row, "ratio"),
            f"{row['control_ratio']:.3f}",
            *(claimed(row, key) for key in keys),
        ]
        for run in runs
        for row in run["figures"]["rows"]
    ]
    return table([*head, "function-level `from`", "host's own imports"], rows)


def warm_load(runs: Sequence[Run]) -> str:
    keys = ("modules", "opens", "calls", "memory_calls")
    rows = [[row[key] for key in keys] for run in runs for row in run["figures"]["rows"]]
    missing = [run["figures"]["no_verdict"] for run in runs if "no_verdict" in run["figures"]]
    head = ["modules", "opens (budget 5)", "calls (budget 80)", "for memory"]
    return "\n".join([table(head, rows), *missing])


def storing(runs: Sequence[Run]) -> str:
    head = ["way", "publish, ms CPU", "MB", "MB each further", "compiled, MB each", "inodes each"]
    keys = ("publish_cpu_ms", "mb", "mb_each_further", "compiled_mb_each", "inodes_each")
    warm = ("warm_cpu_ms", "opens", "calls")
    parts = []
    for run in runs:
        found = run["figures"]
        rows = [
            [name, *(figures.get(key, "") for key in keys + warm)]
            for name, figures in found["arms"].items()
        ]
        parts.append(f"{found['commits']} commits: {found['repository']}.\n")
        parts.append(table([*head, "warm, ms CPU", "opens", "calls"], rows))
        parts += [f"{why}.\n" for why in found["missing"]]
        clock = found["fsync_ms"]
        parts.append(
            f"On the clock a publish takes codevault {clock['with']:.0f} ms with fsync, and "
            f"{clock['without']:.0f} ms without.\n"
        )
    return "\n".join(parts)


def startup(runs: Sequence[Run]) -> str:
    rows = [
        [
            f"{run['figures']['bare_ms']:.1f}",
            claimed(run["figures"], "cost_ms", ".2f"),
            f"{run['figures']['control_ms']:.2f}",
        ]
        for run in runs
    ]
    return table(["bare start, ms", "added, ms", "two equal arms differ by, ms"], rows)


def cold_fetch(runs: Sequence[Run]) -> str:
    head = ["repository", "files", "MB", "git, CPU ms", "control", "call", "ratio"]
    rows = [
        [
            found["repository"],
            f"{found['files']:,}",
            found["mb"],
            f"{found['medians']['git']['cpu_ms']:.0f}",
            f"{found['control_ratio']:.3f}",
            f"{found['medians']['codevault']['call_ms']:.0f}",
            claimed(found, "call_ratio"),
            claimed(found, "further_ratio"),
            claimed(found, "ratio"),
        ]
        for found in (run["figures"] for run in runs)
    ]
    wire = [
        [run["figures"]["repository"], arm, f"{count:,}"]
        for run in runs
        for arm, count in run["figures"].get("bytes", {}).items()
    ]
    below = table(["repository", "arm", "bytes on the wire"], wire) if wire else ""
    return table([*head, "further", "process"], rows) + "\n" + below


def audit(runs: Sequence[Run]) -> str:
    keys = ("audited", "high", "first", "worst", "found")
    rows = [
        [
            run["figures"]["modules"],
            *(f"{run['figures'][key]:.2f}" for key in keys),
            f"{run['figures']['ratio']:.3f}",
            run["figures"]["verdict"],
        ]
        for run in runs
    ]
    head = ["modules loaded", "median, ms", "95% below", "first", "worst", "with findings"]
    return table([*head, "control", "verdict"], rows)


def scale(runs: Sequence[Run]) -> str:
    parts = []
    for run in runs:
        found = run["figures"]
        keys = ("versions", "cpu_ms", "control_cpu_ms", "frozen_cpu_ms", "mb", "gc_ms")
        head = ["versions", "CPU, ms", "control", "freezing, ms", "MB", "full collection, ms"]
        parts.append(
            table(
                [*head, "after freezing, ms"],
                ([*(row[key] for key in keys), row["frozen_gc_ms"]] for row in found["rows"]),
            )
        )
        parts.append(
            f"A further version: {found['mb_each'][-1]} MB, memory {found['memory']}; "
            f"{found['ms_each'][-1]} ms, time {found['time']} (control {found['control_ratio']}); "
            f"{found['frozen_ms_each'][-1]} ms where each load is followed by `gc.freeze()`, "
            f"time {found['frozen_time']}.\n"
        )
    return "\n".join(parts)


def compiling(runs: Sequence[Run]) -> str:
    keys = ("versions", "arm", "graphs", "wrong", "cpu_ms_each")
    head = ["versions", "arm", "compiled", "wrong outputs", "first call, ms CPU each"]
    return table(
        head, ([row[key] for key in keys] for run in runs for row in run["figures"]["rows"])
    )


def import_peers(runs: Sequence[Run]) -> str:
    rows = []
    for run in runs:
        for found in run["figures"]["rows"]:
            ratios, refused = found.get("ratios", {}), found["refused"]
            said = {arm: f'cannot: "{text}"' for arm, text in refused.items()}
            said |= dict.fromkeys(found["not_installed"], "not installed")
            arms = ("control", "codevault", "zipimport", "torch.package", "transformers")
            rows.append(
                [
                    found["tree"],
                    found["modules"],
                    f"{found['cpu_ms']['plain']:.1f}",
                    *(said.get(arm) or claimed(ratios, arm) for arm in arms),
                ]
            )
    head = ["tree", "modules", "plain, ms", "control", "codevault", "zipimport"]
    return table([*head, "`torch.package`", "transformers' dynamic modules"], rows)


def latency(runs: Sequence[Run]) -> str:
    rows = [
        [
            f"{found['delay_us'] / 1000:g}",
            arm,
            f"{found['calls'][arm]:,}",
            f"{found['ms'][arm]:,.0f}",
            claimed(found.get("ratios", {}), arm),
        ]
        for run in runs
        for found in run["figures"]["rows"]
        for arm in found["ms"]
    ]
    return table(["delay, ms", "way", "calls that were held", "wall, ms", "ratio"], rows)


def nodes(runs: Sequence[Run]) -> str:
    keys = ("cpu_s", "git_requests", "git_bytes", "git_cpu_s", "mirror_requests")
    head = ["one node", "CPU, s", "git requests", "git bytes", "git server's CPU, s"]
    below = ["way", "nodes", "requests to git", "MB from git", "MB from the mirror", "seconds"]
    modelled = ("way", "nodes", "git_requests", "git_mb", "mirror_mb", "seconds")
    parts = []
    for run in runs:
        found = run["figures"]
        rows = [
            [arm, *(f"{cost[key]:,.4g}" for key in (*keys, "mirror_bytes"))]
            for arm, cost in found["a_node"].items()
        ]
        shared = found["shared"]
        said = shared.get("no_figure") or (
            f"A process that imports {shared['modules']} modules from a shared folder makes "
            f"{shared['calls']} calls with a path in it."
        )
        parts += [f"Measured; {found['repository']}.\n"]
        parts += [table([*head, "mirror requests", "mirror bytes"], rows), said + "\n"]
        assumed = ", ".join(f"{name} = {value:,}" for name, value in found["assumed"].items())
        parts += [f"Modelled; assumed, not measured: {assumed}.\n"]
        parts += [
            table(
                below,
                (
                    [f"{row[k]:,}" if k != "way" else row[k] for k in modelled]
                    for row in found["rows"]
                ),
            )
        ]
    return "\n".join(parts)
