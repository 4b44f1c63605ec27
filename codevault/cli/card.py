"""The provenance card of `codevault show`: on one screen, whatever the checkpoint holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from codevault.checkpoint import WEIGHTS
from codevault.cli.output import amount
from codevault.manifest import escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault.manifest import Manifest
    from codevault.manifestparts import MigratedPart
    from codevault.packages import Verdict
    from codevault.show import Look

_FEW: Final = 4
"""How many of a list the card shows."""
_ROWS: Final = 6
"""How many packages have a line of their own."""
_WIDTH: Final = 140


def card(seen: Look, verdicts: Sequence[Verdict]) -> list[str]:
    """A checkpoint as labelled lines for people; what no terminal should print is escaped."""
    lines = [f"{escaped(label):<11} {escaped(text)}" for label, text in _lines(seen, verdicts)]
    return [line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…" for line in lines]


def _lines(seen: Look, verdicts: Sequence[Verdict]) -> list[tuple[str, str]]:
    manifest = seen.manifest
    weights = amount(seen.members.get(WEIGHTS, 0))
    more = len(manifest.metadata) - _FEW
    return [
        ("code", f"{manifest.repo or 'travels in the file'} @ {manifest.commit or 'no commit'}"),
        ("changes", _changes(manifest)),
        ("roots", ", ".join(manifest.roots)),
        ("shared", _few(manifest.shared) or "none"),
        ("left out", _few(manifest.left_out) or "nothing"),
        ("modules", f"{len(manifest.modules)} own"),
        ("contract", manifest.contract or "none stated"),
        ("env", "recorded" if manifest.env is not None else "none"),
        ("probe", _probe(manifest)),
        *_packages(verdicts),
        *(("moved", f"from {_move(move)}") for move in manifest.migrated[-_FEW:]),
        ("saved", f"{manifest.created} by codevault {manifest.codevault}"),
        ("size", f"{amount(seen.size)}, {weights} of it weights"),
        ("policy", f"sha256:{manifest.policy_digest}"),
        ("checkpoint", f"sha256:{manifest.checkpoint_digest}"),
        *((f"  {key}", repr(v)) for key, v in sorted(manifest.metadata.items())[:_FEW]),
        *([("  ...", f"{more} more entries of metadata")] if more > 0 else []),
    ]


def _move(move: MigratedPart) -> str:
    rules = f" by {', '.join(move.rules)}" if move.rules else ""
    drift = f"; accepted: {move.drift}" if move.drift else ""
    return f"{(move.commit or 'no commit')[:12]}, saved {move.created}{rules}{drift}"


def _changes(manifest: Manifest) -> str:
    if manifest.overlay is None:
        return "none"
    files = manifest.overlay.files
    return f"{len(files)} uncommitted or unpushed: {_few([file.path for file in files])}"


def _packages(verdicts: Sequence[Verdict]) -> list[tuple[str, str]]:
    """Python and packages against what is here: what is wrong has a line of its own."""
    same = [f"{v.package} {v.recorded}" for v in verdicts if v.word == "same"]
    other = [
        f"{v.package} {v.recorded} (here {v.here})" for v in verdicts if v.word == "compatible"
    ]
    wrong = [v for v in verdicts if v.word in ("suspect", "missing")]
    lines = [("packages", f"same: {', '.join(same) or 'none'}")]
    lines += [("", f"compatible: {', '.join(other)}")] if other else []
    lines += [(f"  {v.package}", f"{v.word}: {v.recorded}, {_why(v)}") for v in wrong[:_ROWS]]
    more = len(wrong) - _ROWS
    return lines + ([("  ...", f"{more} more suspect or missing")] if more > 0 else [])


def _why(verdict: Verdict) -> str:
    if verdict.here is None:
        return "not installed here"
    breaks = [line.partition(" (http")[0] for line in verdict.why]
    more = f" (and {len(breaks) - 1} more)" if len(breaks) > 1 else ""
    return f"here {verdict.here}{more}: {breaks[0]}"


def _few(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _FEW} more" if len(texts) > _FEW else ""
    return ", ".join(texts[:_FEW]) + more


def _probe(manifest: Manifest) -> str:
    """What the probe covers, and which parameters it cannot: in one line."""
    probe = manifest.probe
    if probe is None:
        return "none: nothing shows that a load behaves"
    steps = f"{probe.steps} steps, " if probe.steps > 1 else ""
    line = f"{steps}{probe.inputs} inputs, {probe.outputs} outputs"
    if not probe.untouched:
        return line
    more = ", ..." if len(probe.untouched) > 3 else ""
    names = ", ".join(probe.untouched[:3]) + more
    return f"{line}; not covered: {len(probe.untouched)} parameters ({names})"
