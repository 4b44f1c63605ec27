"""The budgets, each judged from published runs: met, missed or unresolved, and by which figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Run = dict[str, Any]
    Runs = dict[str, list[Run]]


def judge(values: Sequence[float | None], limit: float, form: str = ".3f") -> tuple[str, str]:
    """The verdict on figures that must all stay within a limit, and the worst of them.

    Args:
        values: None where a run claims no figure.
        limit: The greatest value that is within the budget.
        form: How the worst is written.
    """
    known = [value for value in values if value is not None]
    if not known:
        return "unresolved", "no run claims a figure" if values else "not measured yet"
    worst, within = max(known), sum(value <= limit for value in known)
    said = f"worst {worst:{form}}; {within} of {len(values)} within"
    if worst > limit:
        return "missed", said
    return ("met" if len(known) == len(values) else "unresolved"), said


def forward(runs: Iterable[Run], kind: str) -> tuple[str, str]:
    """The verdict on forward passes on one kind of device."""
    rows = [
        r
        for run in runs
        if run["figures"]["device"]["kind"] == kind
        for r in run["figures"]["rows"]
    ]
    if not rows:
        return "unresolved", "not measured yet"
    equal = sum(row["verdict"] == "equal" for row in rows)
    said = f"{equal} of {len(rows)} equal"
    if any(row["differences"] or row["verdict"].startswith("slower") for row in rows):
        return "missed", said
    return ("met" if equal == len(rows) else "unresolved"), said


def _rows(runs: Iterable[Run]) -> list[dict[str, Any]]:
    return [row for run in runs for row in run["figures"]["rows"]]


def _each(key: str, limit: float) -> Callable[[Sequence[Run]], tuple[str, str]]:
    return lambda runs: judge([run["figures"].get(key) for run in runs], limit)


def verdicts(runs: Runs) -> list[tuple[str, str, str, str]]:
    """What is budgeted, the budget, the verdict and the figure behind it."""

    def of(name: str) -> list[Run]:
        return runs.get(name, [])

    imports = [row.get("ratio") for row in _rows(of("import_snapshot")) if row["modules"] == 200]
    hosts = [row.get("host_import_ratio") for row in _rows(of("import_snapshot"))]
    loads = _rows(of("warm_load"))
    shares = [run["figures"].get("anonymous_share") for run in of("weights")]
    sizes = [run["figures"]["mb_each"][-1] for run in of("scale")]
    requests = [run["figures"]["requests"]["second"] for run in of("second_prefetch")]
    each = [run["figures"]["ms_a_uri"]["prefetch"] for run in of("second_prefetch")]
    audits = [
        None if run["figures"]["verdict"].startswith("unresolved") else run["figures"]["high"]
        for run in of("audit")
    ]
    return [
        ("forward pass on the CPU", "equal within 1%", *forward(of("gpu_forward"), "cpu")),
        ("forward pass on a GPU", "equal within 1%", *forward(of("gpu_forward"), "cuda")),
        ("import of 200 modules, CPU against `.pyc`", "0.85", *judge(imports, 0.85)),
        ("opens of a warm load", "5", *judge([row["opens"] for row in loads], 5, ".0f")),
        ("system calls of a warm load", "80", *judge([row["calls"] for row in loads], 80, ".0f")),
        ("weights against `load_file`", "1.05", *_each("ratio", 1.05)(of("weights"))),
        ("anonymous memory of weights, share", "0.02", *judge(shares, 0.02)),
        ("cold fetch, the call against git", "1.0", *_each("call_ratio", 1.0)(of("cold_fetch"))),
        ("requests of a second prefetch", "0", *judge(requests, 0, ".0f")),
        ("second prefetch, ms CPU a URI", "1", *judge(each, 1.0)),
        ("memory of a further version of 60 modules, MB", "2.5", *judge(sizes, 2.5)),
        ("start-up file, ms", "0.5", *_each("cost_ms", 0.5)(of("startup"))),
        ("host's imports with the hook", "within the control, 5%", *judge(hosts, 1.05)),
        ("audit, 95% bound of the median, ms CPU", "15", *judge(audits, 15, ".1f")),
    ]
