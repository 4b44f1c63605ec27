"""The code of a policy that was itself loaded, or built from a mounted splint."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from codevault.captured import Captured, Selection
from codevault.checkpoint import DIFF, PACK, open_checkpoint, read_member
from codevault.embedded import embedded, packed
from codevault.errors import CaptureError, CheckpointError
from codevault.provenances import Provenance, recall
from codevault_cache import overlay_entries, pack_of_commit

if TYPE_CHECKING:
    from codevault.splint import Splint


def code_of(policy: Any, splint: Splint, said: Selection) -> Captured:
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
    if (
        known is not None
        and known.recorded is not None
        and known.splint is not None
        and known.splint.name == splint.name
    ):
        return _again(known, splint)
    snapshot = splint.snapshot
    overlay = splint.overlay
    if snapshot.repo is None or snapshot.commit is None:
        return _whole(splint)
    if snapshot.overlay is not None and overlay is None:
        return _whole(splint)
    # A path means nothing elsewhere: then the commit's objects travel with the overlay's.
    local = os.path.isabs(snapshot.repo)
    pack = pack_of_commit(snapshot.repo, snapshot, overlay) if local else packed(overlay)
    if local and pack is None:
        return _whole(splint)
    return Captured(
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


def _again(known: Provenance, splint: Splint) -> Captured:
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
    return Captured(
        snapshot=splint.snapshot,
        repo=manifest.repo,
        base=manifest.base,
        tree=manifest.tree,
        overlay=tuple(file.model_dump(exclude_defaults=True) for file in overlay),
        pack=pack,
        diff=diff,
        modules=tuple(sorted({*manifest.modules, *splint.modules})),
        renamed={},
        contract=manifest.contract,
        migrations=manifest.migrations,
    )


def _whole(splint: Splint) -> Captured:
    """All files of a splint, for code that no URL leads to."""
    tree = splint.tree
    return embedded(
        {path: tree.read(path) for path in tree.paths},
        roots=splint.snapshot.roots,
        shared=splint.snapshot.shared,
        modules=sorted(splint.modules),
        renamed={},
    )
