"""The newer code that a policy is moved to: found, mounted, and written down for a checkpoint."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codevault.captured import Captured, Selection
from codevault.diff.sides import named
from codevault.errors import CaptureError, CodevaultError, UsageError
from codevault.evolve.ownimports import modules_of
from codevault.load import load_code
from codevault.resaved import code_of
from codevault.stated import migrations_of, stated_of
from codevault.supply import translated
from codevault_cache import find_worktree, overlay_entries
from codevault_cache.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault.manifest import Manifest
    from codevault.splint import Splint
    from codevault_cache import Cache


@dataclass(frozen=True, slots=True)
class Target:
    """Newer code.

    Attributes:
        splint: It, mounted.
        top: Its work tree; None for a commit, and for a folder that is in no repository.
    """

    splint: Splint
    top: str | None

    def __str__(self) -> str:
        snapshot = self.splint.snapshot
        place = self.top or snapshot.repo or "code without a repository"
        changed = " with uncommitted changes" if snapshot.overlay else ""
        return f"{place} @ {(snapshot.commit or 'no commit')[:12]}{changed}"


def target_of(
    to: str | None, manifest: Manifest, roots: Sequence[str] | None, cache: Cache
) -> Target:
    """The code that is meant.

    Args:
        to: A folder as it is now, a full commit, or `REPOSITORY@COMMIT`; None means the work tree
            around this folder.
        manifest: Of the checkpoint. Where neither caller nor repository say roots and shared
            names, it does.
        roots: Folders of the import path; None takes what the repository states.
        cache: Where code is kept.

    Raises:
        UsageError: It names no code.
        FetchError: The code could not be had.
        CodeError: It was found and cannot be served.
    """
    text = to if to is not None else find_worktree(os.getcwd())
    if text is None:
        raise UsageError(
            "nobody says which newer code is meant",
            "this folder is in no git work tree",
            "codevault migrate URI --to FOLDER",
        )
    what = named(text, None)
    if what.pinned is not None or what.repo is None:
        raise UsageError(
            f"{text} is a checkpoint, and a policy is moved to code",
            "",
            f"codevault migrate URI --to {what.repo or 'FOLDER'}",
        )
    splint = load_code(what.repo, what.commit, roots=roots, cache=cache)
    snapshot = splint.snapshot
    own = {name.partition(".")[0] for name in modules_of(splint.tree.paths, snapshot.roots)}
    elsewhere = not own & {name.partition(".")[0] for name in manifest.modules}
    if roots is None and (elsewhere or (manifest.shared and not snapshot.shared)):
        splint = _as_recorded(splint, what.repo, what.commit, manifest, cache)
    return Target(splint, find_worktree(what.repo) if what.commit is None else None)


def _as_recorded(
    splint: Splint, repo: str, commit: str | None, manifest: Manifest, cache: Cache
) -> Splint:
    """The code with roots and shared names of the checkpoint, if it has such folders."""
    shared = splint.snapshot.shared or manifest.shared
    try:
        return load_code(repo, commit, roots=manifest.roots, shared=shared, cache=cache)
    except CodevaultError as error:
        if error.reference != "roots-missing":
            raise
        return splint


def captured(target: Target, policy: Any) -> Captured:
    """The code as a checkpoint records it, now that the policy ran.

    Raises:
        CaptureError: The work tree was changed meanwhile, or cannot be recorded.
    """
    from codevault_cache import read_worktree

    splint, top = target.splint, target.top
    if top is None:
        return code_of(policy, splint, Selection(None, None, None, None))
    was = splint.snapshot
    try:
        found = read_worktree(top, roots=was.roots, shared=was.shared, include=was.include)
    except CacheError as error:
        raise CaptureError(error.what, error.why, translated(error).hint) from error
    if found.snapshot.digest != was.digest:
        raise CaptureError(
            f"{top} was changed while the policy was moved to it", "", "run the command again"
        )
    return Captured(
        snapshot=found.snapshot,
        repo=found.remote,
        base=found.base,
        tree=found.tree,
        overlay=tuple(overlay_entries(found.overlay)) if found.overlay else (),
        pack=found.objects,
        diff=found.diff,
        modules=tuple(sorted(splint.modules)),
        renamed={},
        contract=stated_of(top).contract,
        migrations=migrations_of(top),
    )
