"""What a checkpoint says of itself: the public `read_manifest`, and the card that `show` prints."""

from __future__ import annotations

import os
import zipfile

from codevault import packages
from codevault.checkpoint import MANIFEST, open_checkpoint
from codevault.errors import CheckpointError
from codevault.manifest import Manifest, parse
from codevault.uri import local_path, opened


def read_manifest(uri: str | os.PathLike[str]) -> Manifest:
    """The manifest of a checkpoint; of a remote one only the needed ranges are read.

    Raises:
        CheckpointError: The file is no checkpoint, or a damaged one.
        FetchError: The store does not answer, or has no such object.
    """
    path = local_path(uri)
    if path is not None:
        return open_checkpoint(path).manifest
    where = os.fspath(uri)
    with opened(uri) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return parse(archive.read(MANIFEST), where)
        except (zipfile.BadZipFile, KeyError, EOFError) as error:
            raise CheckpointError(
                f"{where} is no codevault checkpoint",
                f"{type(error).__name__}: {error}",
                "download it, and run codevault show on the file",
            ) from error


def card(manifest: Manifest) -> list[tuple[str, str]]:
    """The manifest as labelled lines for people."""
    changes = f" + {len(manifest.overlay.files)} changed files" if manifest.overlay else ""
    code = manifest.commit or "no commit"
    return [
        ("code", f"{manifest.repo or 'travels in the file'} @ {code}{changes}"),
        ("roots", ", ".join(manifest.roots)),
        ("shared", ", ".join(manifest.shared) or "none"),
        ("left out", ", ".join(manifest.left_out) or "nothing"),
        ("modules", f"{len(manifest.modules)} own"),
        ("env", "recorded" if manifest.env is not None else "none"),
        ("probe", _probe(manifest)),
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


def _probe(manifest: Manifest) -> str:
    if manifest.probe is None:
        return "none: nothing shows that a load behaves"
    return f"{manifest.probe.inputs} inputs, {manifest.probe.outputs} outputs"
