"""What a checkpoint says of itself: the public `read_manifest`, and the card that `show` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codevault import packages
from codevault.checkpoint import open_checkpoint
from codevault.manifest import Manifest, escaped
from codevault.ranged import remote_code
from codevault.uri import local_path

if TYPE_CHECKING:
    import os


def read_manifest(uri: str | os.PathLike[str]) -> Manifest:
    """The manifest of a checkpoint; of a remote one only the needed ranges are read.

    Raises:
        CheckpointError: The file is no checkpoint, or a damaged one.
        FetchError: The store does not answer, or has no such object.
    """
    path = local_path(uri)
    if path is not None:
        return open_checkpoint(path).manifest
    return remote_code(uri).manifest


def card(manifest: Manifest) -> list[tuple[str, str]]:
    """The manifest as labelled lines for people; what no terminal should print is escaped."""
    return [(escaped(label), escaped(text)) for label, text in _lines(manifest)]


def _lines(manifest: Manifest) -> list[tuple[str, str]]:
    changes = f" + {len(manifest.overlay.files)} changed files" if manifest.overlay else ""
    code = manifest.commit or "no commit"
    return [
        ("code", f"{manifest.repo or 'travels in the file'} @ {code}{changes}"),
        ("roots", ", ".join(manifest.roots)),
        ("shared", ", ".join(manifest.shared) or "none"),
        ("left out", ", ".join(manifest.left_out) or "nothing"),
        ("modules", f"{len(manifest.modules)} own"),
        ("env", "recorded" if manifest.env is not None else "none"),
        ("probe", probe_line(manifest)),
        ("python", manifest.python),
        *(
            (f"  {name}", version if here == version else f"{version} (here {here or 'missing'})")
            for name, (version, here) in packages.compared(manifest.packages).items()
        ),
        ("saved", f"{manifest.created} by codevault {manifest.codevault}"),
        ("policy", f"sha256:{manifest.policy_digest}"),
        ("checkpoint", f"sha256:{manifest.checkpoint_digest}"),
        *((f"  {key}", repr(value)) for key, value in sorted(manifest.metadata.items())),
    ]


def probe_line(manifest: Manifest) -> str:
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
