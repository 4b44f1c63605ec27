"""The newer code that a policy is moved to: found, mounted, and written down for a checkpoint."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from codevault.captured import Captured, Selection
from codevault.checkpointcode import as_codevault_error, prove
from codevault.convert import spaces
from codevault.diff.sides import is_commit, named
from codevault.errors import (
    CaptureError,
    CodevaultError,
    MissingCheckpointError,
    RefusedError,
    UsageError,
)
from codevault.evolve.ownimports import modules_of
from codevault.load import load_code
from codevault.projectconfig import rules_at, rules_of, stated_of
from codevault.resaved import code_of
from codevault.trust import allow, allow_architecture
from codevault_cache import find_worktree, overlay_entries
from codevault_cache.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from codevault.diff.sides import Named
    from codevault.load import Overlay
    from codevault.manifest import Manifest
    from codevault.projectconfig import Migrations
    from codevault.splint import Splint
    from codevault.trust import Trust
    from codevault_cache import Cache


@dataclass(frozen=True, slots=True)
class Target:
    """Newer code.

    Attributes:
        splint: It, mounted.
        top: Its work tree; None for a commit, and for a folder that is in no repository.
        contract: Version of the interface to the application that it states.
        migrations: Its rules files; None where it states no folder.
    """

    splint: Splint
    top: str | None
    contract: str | None
    migrations: Migrations | None

    def __str__(self) -> str:
        snapshot = self.splint.snapshot
        place = self.top or snapshot.repo or "code without a repository"
        what = "uncommitted changes" if self.top else "files laid over it"
        changed = f" with {what}" if snapshot.overlay else ""
        return f"{place} @ {(snapshot.commit or 'no commit')[:12]}{changed}"


def target_of(
    to: str | None,
    manifest: Manifest,
    roots: Sequence[str] | None,
    overlay: Overlay,
    trust: Trust,
    cache: Cache,
) -> Target:
    """The code that is meant.

    Args:
        to: A folder as it is now (the whole work tree around it), a full commit, or
            `REPOSITORY@COMMIT`; None means the work tree around this folder.
        manifest: Of the checkpoint. Where neither caller nor repository say roots and shared
            names, it does.
        roots: Folders of the import path; None takes what the repository states.
        overlay: Files laid over a commit; None lays over what `codevault convert` had to.
        trust: Grants; None reads the user's.
        cache: Where code is kept.

    Raises:
        UsageError: It names no code, or files are to be laid over a folder.
        RefusedError: Nothing grants the checkpoint to choose what is called in it.
        FetchError: The code could not be had.
        CodeError: It was found and cannot be served.
        RulesError: A work tree names a folder of rules files that it does not have.
    """
    text = to if to is not None else find_worktree(os.getcwd())
    if text is None:
        raise UsageError(
            "nobody says which newer code is meant",
            "this folder is in no git work tree",
            "codevault migrate URI --to FOLDER",
        )
    what = _named(text, manifest)
    if what.pinned is not None or what.repo is None:
        raise UsageError(
            f"{text} is a checkpoint, and a policy is moved to code",
            "",
            f"codevault migrate URI --to {what.repo or 'FOLDER'}",
        )
    shared = _granted(what, overlay, manifest, trust, cache)
    top = find_worktree(what.repo) if what.commit is None else None
    repo = top or what.repo
    load = partial(load_code, repo, what.commit, cache=cache)
    splint = _rooted(partial(load, overlay=overlay), manifest, roots, shared)
    if overlay is None and (laid := _laid(splint, manifest)):
        overlay, snapshot = laid, splint.snapshot
        splint = load(roots=snapshot.roots, shared=snapshot.shared, overlay=laid)
    if overlay is not None and top is not None:
        raise UsageError(
            f"files are to be laid over {text}, which is a folder as it is now",
            "they can be laid over a commit, or be committed there",
            f"codevault migrate URI --to {shlex.quote(f'{top}@{splint.snapshot.commit}')}",
        )
    if top is not None:
        return Target(splint, top, stated_of(top).contract, rules_of(top))
    stated, migrations = rules_at(splint, repo, cache)
    return Target(splint, None, stated.contract, migrations)


def _named(text: str, manifest: Manifest) -> Named:
    near = find_worktree(os.getcwd()) or manifest.repo
    if is_commit(text) and near is None:
        raise UsageError(
            f"nobody says of which repository {text[:12]} is a commit",
            "the checkpoint's own code travels in it, and this folder is in no git work tree",
            f"codevault migrate URI --to REPOSITORY@{text}",
        )
    try:
        return named(text, near)
    except MissingCheckpointError:
        raise UsageError(
            f"{ascii(text)[:100]} is neither a folder nor a full commit",
            "branches, tags and short ids may name other code tomorrow",
            f"codevault migrate URI --to $(git rev-parse {shlex.quote(text)})",
        ) from None


def _granted(
    what: Named, overlay: Overlay, manifest: Manifest, trust: Trust, cache: Cache
) -> tuple[str, ...]:
    """Sees to it that a checkpoint may choose what is called in the newer code, as `diagnose` does.

    Its architecture names classes and functions there, and what they are given. A grant for its
    repository covers what that repository's commits hold.

    Returns:
        What it calls shared, as far as that counts: under a grant for the checkpoint itself.

    Raises:
        RefusedError: Nothing grants it that.
    """
    try:
        allowed = allow(manifest, trust)
    except RefusedError as error:
        raise RefusedError(
            "this checkpoint may not choose what runs in the newer code",
            "what its architecture names is called there, and nothing grants it that",
            f"codevault trust add sha256:{manifest.checkpoint_digest}",
        ) from error
    if what.commit is not None and overlay is None and allowed.scope == "repository":
        prove(manifest.model_copy(update={"commit": what.commit}), allowed, cache)
    else:
        allow_architecture(manifest, allowed)
    return manifest.shared if allowed.scope == "checkpoint" else ()


def _rooted(
    load: Callable[..., Splint],
    manifest: Manifest,
    roots: Sequence[str] | None,
    shared: Sequence[str],
) -> Splint:
    """The code; with roots and shared names of the checkpoint where it states none that fit."""
    splint = load(roots=roots)
    snapshot = splint.snapshot
    own = {name.partition(".")[0] for name in modules_of(splint.tree.paths, snapshot.roots)}
    elsewhere = not own & {name.partition(".")[0] for name in manifest.modules}
    if roots is not None or not (elsewhere or (manifest.shared and not snapshot.shared)):
        return splint
    try:
        return load(roots=manifest.roots, shared=snapshot.shared or shared)
    except CodevaultError as error:
        if error.reference != "roots-missing":
            raise
        return splint


def _laid(splint: Splint, manifest: Manifest) -> dict[str, str] | None:
    """What `codevault convert` lays over the code of a Stable-Baselines3 policy, if it did."""
    root = splint.snapshot.roots[0]
    path = f"{spaces.MODULE}.py" if root == "." else f"{root}/{spaces.MODULE}.py"
    if spaces.MODULE not in manifest.modules or path in splint.tree.paths:
        return None
    return {path: spaces.SOURCE}


def captured(target: Target, policy: Any) -> Captured:
    """The code as a checkpoint records it, now that the policy ran.

    Raises:
        CaptureError: The work tree was changed meanwhile, or cannot be recorded.
    """
    from codevault_cache import read_worktree

    splint, top = target.splint, target.top
    names = None if target.migrations is None else tuple(target.migrations.files)
    if top is None:
        code = code_of(policy, splint, Selection(None, None, None, None))
        return replace(code, contract=target.contract, migrations=names)
    was = splint.snapshot
    try:
        found = read_worktree(top, roots=was.roots, shared=was.shared, include=was.include)
    except CacheError as error:
        raise CaptureError(error.what, error.why, as_codevault_error(error).hint) from error
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
        contract=target.contract,
        migrations=names,
    )
