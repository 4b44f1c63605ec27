"""Code whose files all travel in the checkpoint: without a commit that could be fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codevault.captured import Captured
from codevault.errors import CaptureError
from codevault_cache import Overlay, Snapshot, overlay_entries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def embedded(
    files: Mapping[str, bytes],
    *,
    roots: Sequence[str],
    shared: Sequence[str],
    modules: Sequence[str],
    renamed: Mapping[str, str],
) -> Captured:
    """Captured that has no commit: its files lie over an empty tree, and travel in the checkpoint.

    Args:
        files: Tree path to content.
        roots: As in the snapshot.
        shared: As in the snapshot.
        modules: Own modules that are used.
        renamed: Loaded names to names in the snapshot.
    """
    from codevault_cache.limits import OBJECTS_BYTES
    from codevault_cache.pack import digest_of
    from codevault_cache.treepaths import shown

    size = sum(map(len, files.values()))
    if size > OBJECTS_BYTES:
        largest = sorted(files, key=lambda path: -len(files[path]))[:5]
        raise CaptureError(
            f"the code that must travel has {size:,} bytes, and at most {OBJECTS_BYTES:,} may",
            f"the largest files: {', '.join(map(shown, largest))}",
            "put the code into a git repository, and push it",
        )
    overlay = Overlay({path: (0o100644, content) for path, content in files.items()})
    snapshot = Snapshot(
        commit=None,
        roots=tuple(roots),
        shared=tuple(shared),
        include=(),
        overlay=overlay.digest,
        digest=digest_of({path: (0o100644, content) for path, content in files.items()}),
    )
    return Captured(
        snapshot=snapshot,
        repo=None,
        base=None,
        tree=None,
        overlay=tuple(overlay_entries(overlay)),
        pack=packed(overlay),
        diff=None,
        modules=tuple(modules),
        renamed=renamed,
    )


def packed(overlay: Overlay | None) -> bytes | None:
    """The contents of an overlay as git objects."""
    from codevault_cache.gitobjects import write_pack

    contents = {value[1] for value in overlay.files.values() if value} if overlay else set()
    return write_pack([("blob", content) for content in sorted(contents)]) if contents else None
