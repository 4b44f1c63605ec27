"""The page's tables of whole loads and of weights: from a benchmark's runs to text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.sections import claimed, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    Run = dict[str, Any]


def weights(runs: Sequence[Run]) -> str:
    names = {
        "safetensors": "`safetensors.torch.load_file` and `load_state_dict(assign=True)`",
        "control": "the same again (control)",
        "codevault": "codevault",
    }
    rows = []
    for run in runs:
        found = run["figures"]
        ratios = {
            "safetensors": "1",
            "control": f"{found['control_ratio']:.3f}",
            "codevault": claimed(found, "ratio"),
        }
        rows += [
            [
                found["megabytes"],
                names[arm],
                f"{found['medians'][arm]['cpu_ms']:.1f}",
                ratios[arm],
                f"{found['medians'][arm]['anonymous_mb']:.0f} MB",
            ]
            for arm in names
        ]
    return table(["MiB", "arm", "CPU, ms", "ratio", "anonymous memory"], rows)


def loading(runs: Sequence[Run]) -> str:
    rows = [
        [
            found["device"],
            found["megabytes"],
            "cold" if found["cold"] else "warm",
            arm if arm.startswith("load_policy") else f"*{arm}*",
            *(f"{figures[key]:,.1f}" for key in ("load_cpu_ms", "load_ms", "action_ms")),
            claimed(found.get("ratios", {}), arm),
            *(f"{figures[key]:,.0f}" for key in ("anonymous_mb", "file_mb")),
        ]
        for run in runs
        for found in run["figures"]["rows"]
        for arm, figures in found["medians"].items()
    ]
    head = ["to", "MiB", "page cache", "way", "load, ms CPU", "load, ms wall", "action, ms wall"]
    return table([*head, "CPU to load_file", "anonymous, MB", "file, MB"], rows)


def league(runs: Sequence[Run]) -> str:
    parts = []
    for run in runs:
        found = run["figures"]
        rows = [
            [arm, *(figures[key] for key in ("first_ms", "later_ms", "leak_mb"))]
            for arm, figures in found["medians"].items()
        ]
        head = ["way", "first load of a commit, ms", "later loads, ms"]
        parts.append(table([*head, "memory, last half, MB"], rows))
        more = claimed(found, "more_ms_a_load", ".1f")
        parts.append(
            f"{found['checkpoints']:,} checkpoints of {found['commits']} commits, "
            f"{found['matches']:,} matches: {more} ms CPU more a load than plain; memory "
            f"{found['memory']} (control {found['control_ratio']}).\n"
        )
    return "\n".join(parts)


def saving(runs: Sequence[Run]) -> str:
    rows = [
        [
            run["figures"]["megabytes"],
            *(f"{run['figures']['wait_ms'][arm]:.1f}" for arm in ("torch.save", "codevault")),
            claimed(run["figures"], "ratio"),
            f"{run['figures']['control_ratio']:.3f}",
        ]
        for run in runs
    ]
    return table(["MB", "`torch.save`, ms", "codevault, ms", "ratio", "control"], rows)


def second_prefetch(runs: Sequence[Run]) -> str:
    rows: list[list[object]] = []
    for run in runs:
        found = run["figures"]
        asked, ms, spread = found["requests"], found["ms_a_uri"], found["spread"]
        rows.append(["first, which fetches and compiles", asked["first"], found["first_ms_a_uri"]])
        for arm, name in (("prefetch", "second"), ("manifests", "manifests")):
            low, high = spread[arm]
            count = asked["second"] if arm == "prefetch" else 0
            rows.append([name, count, f"{ms[arm]} ({low} to {high})"])
    return table(["arm", "requests", "CPU, ms a URI"], rows)
