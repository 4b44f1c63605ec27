"""What can be seen of a checkpoint without loading it; holds the public `read_manifest`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault.checkpoint import open_checkpoint
from codevault.ranged import remote_code
from codevault.uri import local_path

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from codevault.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Look:
    """What can be seen of a checkpoint without its weights.

    Attributes:
        manifest: What it says of itself.
        size: Bytes of the file.
        members: Bytes of each member.
    """

    manifest: Manifest
    size: int
    members: Mapping[str, int]


def read_manifest(uri: str | os.PathLike[str]) -> Manifest:
    """The manifest of a checkpoint; of a remote one only the needed ranges are read.

    Raises:
        CheckpointError: The file is no checkpoint, or a damaged one.
        FetchError: The store does not answer, or has no such object.
    """
    return look(uri).manifest


def look(uri: str | os.PathLike[str]) -> Look:
    """The manifest of a checkpoint, and the sizes of its parts; raises as `read_manifest`."""
    path = local_path(uri)
    if path is None:
        remote = remote_code(uri)
        return Look(remote.manifest, remote.size, remote.members)
    checkpoint = open_checkpoint(path)
    sizes = {name: member.size for name, member in checkpoint.members.items()}
    return Look(checkpoint.manifest, checkpoint.identity[2], sizes)
