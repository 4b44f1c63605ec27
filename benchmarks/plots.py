"""The page's plots, from the published runs; the same runs give the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    Run = dict[str, Any]


def draw(runs: Sequence[Run], folder: Path) -> list[str]:
    """Writes a plot for each benchmark that has one; gives the files' names."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    makers: dict[str, tuple[str, int, Callable[[Sequence[Run], Sequence[Axes]], None]]] = {
        "gpu_forward": ("forward", 1, _forward),
        "import_snapshot": ("imports", 1, _imports),
        "nodes": ("nodes", 1, _nodes),
        "scale": ("scale", 3, _scale),
    }
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    # Ids in the file are random otherwise, and text would be drawn as paths of some font.
    with matplotlib.rc_context({"svg.hashsalt": "codevault", "svg.fonttype": "none"}):
        for name, (file, columns, make) in makers.items():
            found = [run for run in runs if run["benchmark"] == name]
            if not found:
                continue
            figure, axes = pyplot.subplots(
                1, columns, figsize=(8, 3.2), layout="constrained", squeeze=False
            )
            make(found, list(axes[0]))
            figure.savefig(folder / f"{file}.svg", metadata={"Date": None})
            pyplot.close(figure)
            written.append(f"{file}.svg")
    return written


def _forward(runs: Sequence[Run], axes: Sequence[Axes]) -> None:
    rows = [row for run in runs for row in run["figures"]["rows"]]
    labels = {"again": "native again (control)", "planted": "2% planted", "isolated": "isolated"}
    places = {"again": (-0.2, "grey"), "isolated": (0, "tab:blue"), "planted": (0.2, "tab:orange")}
    for arm, (shift, colour) in places.items():
        shown = [(i, row[arm]) for i, row in enumerate(rows) if row[arm] is not None]
        middle = [ratio["median"] for _, ratio in shown]
        reach = [
            [ratio["median"] - ratio["low"] for _, ratio in shown],
            [ratio["high"] - ratio["median"] for _, ratio in shown],
        ]
        at = [i + shift for i, _ in shown]
        axes[0].errorbar(at, middle, reach, fmt="o", color=colour, label=labels[arm], capsize=3)
    axes[0].axhspan(0.99, 1.01, color="tab:green", alpha=0.12, label="within 1%")
    axes[0].axhline(1.02, color="tab:orange", linewidth=0.7, linestyle=":")
    names = [f"{row['policy']}\n{row['batch']} {row['clock']}" for row in rows]
    axes[0].set_xticks(range(len(rows)), names, fontsize=7)
    axes[0].set_ylabel("ratio to native")
    axes[0].legend(fontsize=7)


def _imports(runs: Sequence[Run], axes: Sequence[Axes]) -> None:
    for run, colour in zip(runs, ("tab:blue", "tab:orange", "tab:green", "tab:red"), strict=False):
        rows, python = run["figures"]["rows"], run["conditions"]["python"]
        for arm, style in (("plain", "--"), ("mounted", "-")):
            values = [row["medians"][arm]["cpu_ms"] for row in rows]
            at = [row["modules"] for row in rows]
            axes[0].plot(at, values, style, color=colour, marker=".", label=f"{python} {arm}")
    axes[0].set_xlabel("modules")
    axes[0].set_ylabel("CPU, ms")
    axes[0].legend(fontsize=7)


def _scale(runs: Sequence[Run], axes: Sequence[Axes]) -> None:
    titles = {"cpu_ms": "CPU, ms", "mb": "memory, MB", "gc_ms": "full collection, ms"}
    for axis, (key, title) in zip(axes, titles.items(), strict=True):
        for run in runs:
            rows = run["figures"]["rows"]
            at = [row["versions"] for row in rows]
            axis.plot(at, [row[key] for row in rows], marker="o")
            if key == "cpu_ms":
                frozen = [row["frozen_cpu_ms"] for row in rows]
                axis.plot(at, frozen, "--", marker="o", label="gc.freeze() after each")
                axis.legend(fontsize=7)
        axis.set_xlabel("versions in one process")
        axis.set_title(title, fontsize=9)


def _nodes(runs: Sequence[Run], axes: Sequence[Axes]) -> None:
    for run in runs:
        rows = run["figures"]["rows"]
        for way in dict.fromkeys(row["way"] for row in rows):
            shown = [row for row in rows if row["way"] == way]
            at = [row["nodes"] for row in shown]
            axes[0].loglog(at, [row["seconds"] for row in shown], marker="o", label=way)
    axes[0].set_xlabel("nodes")
    axes[0].set_ylabel("seconds until all are warm (modelled)")
    axes[0].legend(fontsize=7)
