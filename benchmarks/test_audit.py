"""Of the audit's benchmark, that it runs and judges; no time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import audit


def test_verdict_needs_a_quiet_machine() -> None:
    assert audit.judge(7.0, 1.02) == "within the budget"
    assert audit.judge(16.0, 1.02).startswith("above the budget")
    assert audit.judge(7.0, 1.2).startswith("unresolved")
    assert audit.judge(16.0, 0.8).startswith("unresolved")


def test_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    top = Path(__file__).resolve().parent.parent
    paths = f"sys.path[:0] = {[str(top / name) for name in ('', 'importhook', 'cache')]!r}"
    code = f"import sys; {paths}\nfrom benchmarks.audit import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "--quick", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    figures = json.loads(file.read_text())["figures"]
    assert figures["modules"] > 1000
    assert figures["audited"] > 0
    assert "median" in done.stdout
