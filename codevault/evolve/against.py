"""What a checkpoint is held against: a folder, a commit, or a splint, as a side."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
from typing import TYPE_CHECKING, Any

from codevault.build import CurrentCode
from codevault.checkpointcode import prove, retry_if_damaged, warm
from codevault.errors import CodevaultError, UsageError
from codevault.evolve.sides import Side
from codevault.repositories import explicit
from codevault.splint import Splint, mount, mounted
from codevault.targets import commit_of
from codevault.trust import allow_architecture
from codevault_cache import Cache, Snapshot, Wanted, find_worktree

if TYPE_CHECKING:
    from codevault.manifest import Manifest
    from codevault.trust import Allowed

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def against_of(
    against: str | os.PathLike[str] | Splint, manifest: Manifest, allowed: Allowed, vault: Cache
) -> Side:
    """The side that an argument of `diagnose` names; its code is mounted, none of it has run.

    Roots and shared names are what that code states; where it states none and its default roots do
    not have the checkpoint's modules, those of the checkpoint: names that it calls shared only
    under a grant for the checkpoint itself.

    Args:
        against: As `diagnose` takes it.
        manifest: The checkpoint's manifest.
        allowed: Why its own code may run.
        vault: Where code is kept.

    Raises:
        RefusedError: The checkpoint may not choose what is called in that code. A grant for its
            repository covers commits of that repository; anything else needs one for itself.
        FetchError: The code could not be had.
        CodeError: It was found and cannot be served.
        UsageError: The argument names no code.
    """
    if isinstance(against, Splint):
        return Side(against, against.name, place=against.snapshot.repo)
    if against == "current":
        allow_architecture(manifest, allowed)
        tops = sorted({name.partition(".")[0] for name in manifest.modules})
        places = sorted({place for top in tops if (place := _place(top)) is not None})
        label = "the application's current modules"
        return Side(CurrentCode(manifest.modules, manifest.shared), ", ".join((label, *places)))
    text = os.fspath(against)
    repo, commit = _named(text, manifest)
    if commit == text and manifest.repo is not None and allowed.scope == "repository":
        prove(manifest.model_copy(update={"commit": commit}), allowed, vault)
    else:
        allow_architecture(manifest, allowed)
    before = mounted()
    splint = _mounted(Wanted(repo=repo, commit=commit), vault)
    if not _has_modules(splint, manifest):
        shared = manifest.shared if allowed.scope == "checkpoint" else None
        recorded = Wanted(repo=repo, commit=commit, roots=manifest.roots, shared=shared)
        try:
            other = _mounted(recorded, vault)
        except CodevaultError:
            other = splint  # its folders have other names now: the diagnosis tells what is gone
        splint = other if _has_modules(other, manifest) else splint
    changed = " with uncommitted changes" if splint.snapshot.overlay else ""
    return Side(
        splint,
        f"{repo} @ {splint.snapshot.commit or 'no commit'}{changed}",
        place=repo,
        is_folder=commit is None,
        fresh=splint.name not in before,
    )


def _place(top: str) -> str | None:
    """The folder in which this Python finds a top-level module; it is not imported."""
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(top)
        folders = list((spec and spec.submodule_search_locations) or ())
        if spec is not None and (folders or spec.origin):
            return os.path.dirname(folders[0] if folders else str(spec.origin))
    return None


def around(manifest: Manifest) -> str:
    """The git work tree around this folder, if it has the checkpoint's modules; else "current"."""
    top = find_worktree(os.getcwd())
    tops = {name.partition(".")[0] for name in manifest.modules}
    roots = {*manifest.roots, "src", "."}
    if top is None or not any(_lies(top, root, name) for root in roots for name in tops):
        return "current"
    return top


def _lies(top: str, root: str, name: str) -> bool:
    path = os.path.join(top, root, name)
    return os.path.isdir(path) or os.path.isfile(f"{path}.py")


def _named(text: str, manifest: Manifest) -> tuple[str, str | None]:
    """The repository and commit of an argument."""
    pair = commit_of(text)
    if pair is not None:
        return explicit(pair[0]), pair[1]
    if _COMMIT.fullmatch(text):
        here = find_worktree(os.getcwd())
        if manifest.repo is None and here is None:
            raise UsageError(
                f"nobody says of which repository {text[:12]} is a commit",
                "the checkpoint's own code travels in it, it names no repository, and the current "
                "folder is in none",
                f"codevault diagnose URI --against REPOSITORY@{text}",
            )
        return explicit(manifest.repo) if manifest.repo else str(here), text
    if os.path.isdir(text):
        return find_worktree(text) or text, None
    raise UsageError(
        f"{ascii(text)[:100]} is neither a folder nor a full commit",
        "branches, tags and short ids may name other code tomorrow",
        f"codevault diagnose URI --against $(git rev-parse {shlex.quote(text)})",
    )


def _mounted(wanted: Wanted, vault: Cache) -> Splint:
    def use(snapshot: Snapshot, cache: Any) -> Splint:
        return mount(snapshot, cache)

    return retry_if_damaged(lambda: (warm([wanted], vault)[0], True), vault, use)[0]


def _has_modules(splint: Splint, manifest: Manifest) -> bool:
    tops = {name.partition(".")[0] for name in manifest.modules}
    starts = ["" if root == "." else f"{root}/" for root in splint.snapshot.roots]
    paths = splint.tree.paths
    return all(
        any(
            path == f"{start}{top}.py" or path.startswith(f"{start}{top}/")
            for start in starts
            for path in paths
        )
        for top in tops
    )
