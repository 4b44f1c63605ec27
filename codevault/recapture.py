"""Code that is no work tree's: of a policy that was itself loaded, or files that travel whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from codevault.checkpoint import DIFF, PACK, open_checkpoint, read_member
from codevault.code import Code, Selection
from codevault.errors import CaptureError, CheckpointError
from codevault.provenances import Provenance, recall
from codevault_cache import Overlay, Snapshot, overlay_entries, pack_of_commit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codevault.splint import Splint


def code_of(policy: Any, splint: Splint, said: Selection) -> Code:
    """The code of a policy that runs in a splint: what its checkpoint or repository named.

    Raises:
        CaptureError: The checkpoint with its objects is gone, or the caller said something else.
    """
    named = {"repo": said.repo, "roots": said.roots, "shared": said.shared, "include": said.include}
    if given := [name for name, value in named.items() if value is not None]:
        raise CaptureError(
            f"{', '.join(given)} cannot be chosen for a policy that runs in {splint.name}",
            "its code is that snapshot, as it was mounted",
            "leave them out, or mount it otherwise with codevault.load_code(...)",
        )
    known = recall(policy)
    if known is not None and known.splint is not None and known.splint.name == splint.name:
        return _again(known, splint)
    snapshot = splint.snapshot
    overlay = splint.overlay
    if snapshot.repo is None or snapshot.commit is None:
        return _whole(splint)
    if snapshot.overlay is not None and overlay is None:
        return _whole(splint)
    # A path means nothing elsewhere: then the commit's objects travel with the overlay's.
    local = os.path.isabs(snapshot.repo)
    pack = pack_of_commit(snapshot.repo, snapshot, overlay) if local else _pack(overlay)
    if local and pack is None:
        return _whole(splint)
    return Code(
        snapshot=snapshot,
        repo=None if local else snapshot.repo,
        base=None if local else snapshot.commit,
        tree=None,
        overlay=() if overlay is None else tuple(overlay_entries(overlay)),
        pack=pack,
        diff=None,
        modules=tuple(sorted(splint.modules)),
        renamed={},
    )


def embedded(
    files: Mapping[str, bytes],
    *,
    roots: Sequence[str],
    shared: Sequence[str],
    modules: Sequence[str],
    renamed: Mapping[str, str],
) -> Code:
    """Code that has no commit: its files lie over an empty tree, and travel in the checkpoint.

    Args:
        files: Tree path to content.
        roots: As in the snapshot.
        shared: As in the snapshot.
        modules: Own modules that are used.
        renamed: Loaded names to names in the snapshot.
    """
    from codevault_cache.limits import OBJECTS_BYTES
    from codevault_cache.pack import digest_of

    size = sum(map(len, files.values()))
    if size > OBJECTS_BYTES:
        largest = sorted(files, key=lambda path: -len(files[path]))[:5]
        raise CaptureError(
            f"the code that must travel has {size:,} bytes, and at most {OBJECTS_BYTES:,} may",
            f"the largest files: {', '.join(largest)}",
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
    return Code(
        snapshot=snapshot,
        repo=None,
        base=None,
        tree=None,
        overlay=tuple(overlay_entries(overlay)),
        pack=_pack(overlay),
        diff=None,
        modules=tuple(modules),
        renamed=renamed,
    )


def _pack(overlay: Overlay | None) -> bytes | None:
    """The contents of an overlay as git objects."""
    from codevault_cache.gitobjects import write_pack

    contents = {value[1] for value in overlay.files.values() if value} if overlay else set()
    return write_pack([("blob", content) for content in sorted(contents)]) if contents else None


def _again(known: Provenance, splint: Splint) -> Code:
    """What the checkpoint says of its code, with the objects that travel in it."""
    manifest = known.manifest
    pack = diff = None
    try:
        checkpoint = open_checkpoint(known.path)
        if checkpoint.manifest.digest != manifest.digest:
            raise CheckpointError(f"{known.path} is another checkpoint now")
        pack = read_member(checkpoint, PACK) if PACK in checkpoint.members else None
        diff = read_member(checkpoint, DIFF) if DIFF in checkpoint.members else None
    except CheckpointError as error:
        if manifest.overlay is not None or manifest.base != manifest.commit:
            raise CaptureError(
                "this policy's code travelled in the checkpoint it was loaded from, which is gone",
                str(error),
                f"restore {known.path}, and save again",
            ) from error
    overlay = manifest.overlay.files if manifest.overlay else ()
    return Code(
        snapshot=splint.snapshot,
        repo=manifest.repo,
        base=manifest.base,
        tree=manifest.tree,
        overlay=tuple(file.model_dump(exclude_defaults=True) for file in overlay),
        pack=pack,
        diff=diff,
        modules=tuple(sorted({*manifest.modules, *splint.modules})),
        renamed={},
    )


def _whole(splint: Splint) -> Code:
    """All files of a splint, for code that no URL leads to."""
    tree = splint.tree
    return embedded(
        {path: tree.read(path) for path in tree.paths},
        roots=splint.snapshot.roots,
        shared=splint.snapshot.shared,
        modules=sorted(splint.modules),
        renamed={},
    )
