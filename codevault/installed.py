"""The code of a policy class that was installed with pip: its repository, or its files."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

from codevault.captured import Captured
from codevault.checkpointcode import open_cache, warm
from codevault.embedded import embedded
from codevault.errors import CaptureError, CodevaultError
from codevault.ownmodules import files_below
from codevault_cache import Wanted, public_url
from codevault_cache.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Sequence


def code_of(target: Any, policy: type, shared: Sequence[str]) -> Captured:
    """The code of an installed class: the repository that its distribution names, or its files.

    Args:
        target: The class or function that makes the policy.
        policy: The policy's class.
        shared: Dotted prefixes that are the host's.

    Raises:
        CaptureError: The class belongs to the standard library or to no distribution, or makes
            policies of another package.
    """
    top = target.__module__.partition(".")[0]
    if policy.__module__.partition(".")[0] != top:
        raise CaptureError(
            f"class_path names {target.__module__}.{target.__qualname__}, of an installed package",
            f"the policy is a {policy.__module__}.{policy.__qualname__}, which is other code",
            "name a class or function of the policy's own code",
        )
    if top == "torch":
        raise CaptureError(
            f"the policy is a {target.__module__}.{target.__qualname__}, a class of torch itself",
            "a checkpoint names code of yours that makes it, and torch does not travel",
            'save_policy(..., architecture={"class_path": "pkg.mod:make_policy"})  # your function',
        )
    names = metadata.packages_distributions().get(top, [])
    if not names:
        raise CaptureError(
            f"{target.__module__}.{target.__qualname__} is in no installed distribution",
            "its code can be named neither by a repository nor by a package",
            "subclass it in code of your own, and save that",
        )
    distribution = metadata.distribution(names[0])
    return _from_repository(distribution, target, shared) or _files(target, shared)


def _from_repository(distribution: Any, target: Any, shared: Sequence[str]) -> Captured | None:
    """By `direct_url.json` (PEP 610), if the commit holds the file that is installed."""
    try:
        stated = json.loads(distribution.read_text("direct_url.json") or "{}")
        url, commit = stated["url"], stated["vcs_info"]["commit_id"]
        sub = stated.get("subdirectory", "")
    except (ValueError, KeyError, TypeError):
        return None
    vault = open_cache(None)
    module = target.__module__.replace(".", "/")
    installed = _sha256(sys.modules[target.__module__].__file__ or "")
    for roots in (None, (f"{sub}/src" if sub else "src",), (sub or ".",)):
        try:
            wanted = Wanted(url, commit, roots=roots, shared=tuple(shared))
            (snapshot,) = warm([wanted], vault)
            tree = vault.tree(snapshot.digest)
        except (CodevaultError, CacheError):
            continue
        for root in snapshot.roots:
            start = "" if root == "." else f"{root}/"
            for path in (f"{start}{module}.py", f"{start}{module}/__init__.py"):
                if path in tree.paths and tree.sha256(path) == installed:
                    return Captured(
                        snapshot=snapshot,
                        repo=public_url(url),
                        base=snapshot.commit,
                        tree=None,
                        overlay=(),
                        pack=None,
                        diff=None,
                        modules=_loaded(target),
                        renamed={},
                    )
    return None


def _files(target: Any, shared: Sequence[str]) -> Captured:
    """The installed files of the class's top-level package or module."""
    top = sys.modules[target.__module__.partition(".")[0]]
    file = os.path.realpath(top.__file__ or "")
    if not top.__file__ or not file.endswith(".py"):
        raise CaptureError(
            f"{top.__name__} has no source files that could travel",
            f"it is {top.__file__ or 'a namespace package or compiled'}",
            "name its repository with codevault.load_code(repo, commit), and build it from there",
        )
    package = os.path.dirname(file)
    folder = os.path.dirname(package) if file.endswith("__init__.py") else package
    files: dict[str, bytes] = {}
    wanted = [file] if folder == package else files_below(package)
    for path in wanted:
        with open(path, "rb") as opened_file:
            files[os.path.relpath(path, folder).replace(os.sep, "/")] = opened_file.read()
    return embedded(files, roots=["."], shared=shared, modules=_loaded(target), renamed={})


def _loaded(target: Any) -> tuple[str, ...]:
    top = target.__module__.partition(".")[0]
    return tuple(sorted(name for name in sys.modules if name == top or name.startswith(f"{top}.")))


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
