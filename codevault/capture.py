"""From a live policy to the code it needs: which modules, which repository, which changes.

Where the code is, first that applies: the caller's `repo`; the snapshot that the policy was loaded
from; the git work tree that encloses its modules; the repository that an installed distribution
names; else the code's own files, which then travel in the checkpoint.
"""

from __future__ import annotations

import glob
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

import codevault_importhook as hook
from codevault import architecture as arch
from codevault import installed, resaved
from codevault.captured import Captured, Selection
from codevault.embedded import embedded
from codevault.errors import CaptureError, CodeChangedWarning
from codevault.ownmodules import OwnModule, files_below, must_have_file, reached, roots_of
from codevault.projectconfig import migrations_of, stated_of
from codevault.provenances import recall
from codevault.splint import mounted_as
from codevault.staleness import edited
from codevault_cache import find_worktree, overlay_entries, public_url, read_worktree
from codevault_cache.errors import CacheError
from codevault_cache.ignores import ignored_among
from codevault_cache.limits import FILE_BYTES
from codevault_importhook.libraries import is_library_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault_cache import Captured as WorkTree


def capture(policy: Any, architecture: Any, said: Selection, *, embed: bool) -> Captured:
    """The code of a live policy.

    Args:
        policy: The policy, without wrappers.
        architecture: How it is built, as the caller gave it; None: as it was loaded, or its class.
        said: What the caller said of the code.
        embed: Whether all of it travels in the checkpoint.

    Raises:
        CaptureError: The code is spread over repositories, or is nowhere to be found.
    """
    known = recall(policy)
    if architecture is None and known is not None and known.splint is not None:
        return resaved.code_of(policy, known.splint, said)
    target = arch.target_of({"class_path": type(policy)} if architecture is None else architecture)
    parts = hook.split(target.__module__)
    if parts is not None:
        splint = mounted_as(parts[0])
        if splint is None:
            raise CaptureError(
                f"{target.__module__} is not mounted any more", "", "save before Splint.unload()"
            )
        return resaved.code_of(policy, splint, said)
    must_have_file(target)
    if is_library_file(os.path.realpath(sys.modules[target.__module__].__file__ or "")):
        return installed.code_of(target, type(policy), said.shared or ())
    things = [target, type(policy), *_classes(policy)]
    try:
        return _application(things, said, embed=embed)
    except CacheError as error:
        raise _refused(error) from error


def _application(things: Sequence[Any], said: Selection, *, embed: bool) -> Captured:
    modules = reached(things, said.shared or ())
    if not modules:
        raise CaptureError(
            f"{things[0].__module__} is no module that an import finds",
            "it is shared, or was loaded from a file of another name",
            "import the policy's module by its name, from a folder on sys.path",
        )
    top = _work_tree(modules, said.repo)
    if top is None:
        return _without_repository(modules, said)
    stated = stated_of(top)
    shared = said.shared if said.shared is not None else stated.shared or ()
    modules = reached(things, shared)
    if changed := edited(modules):
        warnings.warn(
            f"{', '.join(changed)} was edited after it was imported: the checkpoint holds the code "
            "that is on disk now, which is not what the policy ran",
            CodeChangedWarning,
            stacklevel=4,
        )
    within = [m for m in modules if _inside(m.file, top)]
    roots = said.roots or stated.roots or [_relative(f, top) for f in roots_of(within)]
    include = said.include if said.include is not None else stated.include or ()
    found = read_worktree(
        top,
        roots=roots,
        shared=shared,
        include=[*include, *_ignored(within, top)],
        embed=embed or _is_url(said.repo),
    )
    if lost := _lost(modules, found, top):
        raise _missing(lost, top)
    return Captured(
        snapshot=found.snapshot,
        repo=public_url(str(said.repo)) if _is_url(said.repo) else found.remote,
        base=found.base,
        tree=found.tree,
        overlay=tuple(overlay_entries(found.overlay)) if found.overlay else (),
        pack=found.objects,
        diff=found.diff,
        modules=tuple(m.name for m in modules),
        renamed={m.loaded: m.name for m in modules},
        contract=stated.contract,
        migrations=migrations_of(top),
    )


def _classes(policy: Any) -> list[Any]:
    """The classes of the policy's sub-modules, without those of libraries."""
    parts = policy.modules() if callable(getattr(policy, "modules", None)) else ()
    return list(dict.fromkeys(type(part) for part in parts))


def _work_tree(modules: Sequence[OwnModule], repo: str | None) -> str | None:
    """The one work tree that encloses the modules; None if none does.

    Raises:
        CaptureError: There are two.
    """
    if repo is not None and not _is_url(repo):
        top = find_worktree(os.path.realpath(repo))
        if top is None:
            raise CaptureError(
                f"repo={repo!r} is no git work tree",
                "a path must name one",
                "git init && git commit",
            )
        return os.path.realpath(top)
    tops: dict[str | None, str] = {}
    for module in modules:
        top = find_worktree(module.file)
        tops.setdefault(os.path.realpath(top) if top else None, module.name)
    if len(tops) > 1:
        places = "; ".join(f"{name} in {top or 'no repository'}" for top, name in tops.items())
        raise CaptureError(
            "the policy's code is spread over more than one repository",
            places,
            "name what stays the host's with shared=[...], or install it as a package",
        )
    return next(iter(tops), None)


def _without_repository(modules: Sequence[OwnModule], said: Selection) -> Captured:
    """Code in no repository: the files of its top-level modules and packages travel."""
    folders = roots_of(modules)
    top = os.path.commonpath(folders)
    roots = list(said.roots or [_relative(folder, top) for folder in folders])
    files: dict[str, str] = {}
    for module in modules:
        name = module.name.partition(".")[0]
        package = os.path.join(module.root, name)
        whole = files_below(package) if os.path.isdir(package) else [module.file]
        files |= {_relative(path, top): path for path in whole}
    return embedded(
        {path: _content(file) for path, file in files.items()},
        roots=roots,
        shared=tuple(said.shared or ()),
        modules=tuple(m.name for m in modules),
        renamed={m.loaded: m.name for m in modules},
    )


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _ignored(modules: Sequence[OwnModule], top: str) -> list[str]:
    """Own modules that git ignores (generated ones): named one by one, they are taken."""
    paths = [_relative(m.file, top) for m in modules]
    return [glob.escape(path) for path in ignored_among(top, paths)]


def _lost(modules: Sequence[OwnModule], found: WorkTree, top: str) -> list[OwnModule]:
    """The modules that no import would find in the snapshot."""
    roots = found.snapshot.roots
    return [
        m
        for m in modules
        if os.path.exists(m.file)  # else a warning has told that it was deleted
        and (_relative(m.file, top) not in found.paths or _relative(m.root, top) not in roots)
    ]


def _missing(lost: Sequence[OwnModule], top: str) -> CaptureError:
    """What says why a load would miss modules, and what helps."""
    first = lost[0]
    path = _relative(first.file, top)
    if not _inside(first.file, top):
        why, hint = f"{first.file} is not in {top}", f"shared=[{first.name.partition('.')[0]!r}]"
    elif os.path.getsize(first.file) > FILE_BYTES:
        why, hint = f"{path} is larger than {FILE_BYTES} bytes", f"include=[{glob.escape(path)!r}]"
    else:
        why = f"the roots do not lead to {path} by that name"
        hint = f"roots={[_relative(folder, top) for folder in roots_of(lost)]!r}"
    names = ", ".join(m.name for m in lost)
    return CaptureError(f"the checkpoint's code would lack {names}", why, hint)


def _relative(path: str, top: str) -> str:
    return os.path.relpath(path, top).replace(os.sep, "/")


def _inside(path: str, top: str) -> bool:
    return path.startswith(top.rstrip("/") + "/")


def _is_url(repo: str | None) -> bool:
    return repo is not None and ("://" in repo or (":" in repo and not os.path.exists(repo)))


def _refused(error: CacheError) -> CaptureError:
    new = CaptureError(error.what, error.why, error.hint)
    new.reference = error.reference
    return new
