"""What to fetch, as a value: enough to find it in the cache, and enough to fetch it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from codevault_cache.errors import BadCommit
from codevault_cache.overlay import Overlay  # noqa: TC001  (annotations of a public dataclass resolve)
from codevault_cache.selection import glob_of, roots_of
from codevault_cache.snapshot import COMMIT, DIGEST, Snapshot, canonical, spec12


def check_commit(commit: str, repo: str | None) -> str:
    """Pass a full commit id through.

    Raises:
        BadCommit: It is a branch, a tag, a short id, or no id at all.
    """
    if COMMIT.fullmatch(commit):
        return commit
    import shlex

    from codevault_cache.address import public_url

    name, place = shlex.quote(f"{commit or 'HEAD'}^0"), repo or "."
    raise BadCommit(
        f"{ascii(commit)[:100]} is not a full commit id.",
        "Branches, tags and short ids may name other code tomorrow; "
        "40 (or 64) lower-case hex digits do not.",
        f"git -C {shlex.quote(place)} rev-parse {name}"
        if os.path.isdir(place)
        else f"git ls-remote {shlex.quote(public_url(place))}",
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """One snapshot that somebody wants.

    Attributes:
        repo: URL, or path of a work tree, bare repository, `.git` folder, plain folder, wheel or
            sdist.
        commit: Full commit id. None: a work tree's files as they are now, or code without a commit.
        roots: None: as the committed pyproject.toml says, else by default.
        shared: As roots.
        include: As roots.
        overlay: Files laid over the tree.
        digest: The snapshot digest that is expected.
        base: A commit that the remote has and that `objects` builds on.
        objects: A git pack with the wanted objects that the remote lacks.
    """

    repo: str | None
    commit: str | None = None
    roots: tuple[str, ...] | None = None
    shared: tuple[str, ...] | None = None
    include: tuple[str, ...] | None = None
    overlay: Overlay | None = None
    digest: str | None = None
    base: str | None = None
    objects: bytes | None = None

    def __post_init__(self) -> None:
        # One form per meaning: the requests and names below are made of these fields.
        put = object.__setattr__
        if self.commit is not None:
            check_commit(self.commit, self.repo)
        if self.base is not None:
            check_commit(self.base, self.repo)
        if self.digest is not None and not DIGEST.fullmatch(self.digest):
            raise BadCommit(f"{ascii(self.digest)[:100]} is not a snapshot digest.", "", "")
        if self.roots is not None:
            put(self, "roots", roots_of(self.roots))
        if self.shared is not None:
            put(self, "shared", tuple(self.shared))
        if self.include is not None:
            put(self, "include", tuple(glob_of(glob) for glob in self.include))
        if self.overlay is not None and not self.overlay:
            put(self, "overlay", None)

    @property
    def overlay_digest(self) -> str | None:
        """Digest of the overlay, or None without one."""
        return None if self.overlay is None else self.overlay.digest


def request_of(wanted: Wanted) -> bytes | None:
    """The question that a wanted snapshot asks, or None where only content can answer.

    The repository is no part of it: a commit is the same commit wherever it comes from.
    """
    if wanted.commit is None and wanted.repo is not None:
        return None
    return canonical(
        {
            "commit": wanted.commit,
            "include": None if wanted.include is None else list(wanted.include),
            "overlay": wanted.overlay_digest,
            "roots": None if wanted.roots is None else list(wanted.roots),
            "shared": None if wanted.shared is None else list(wanted.shared),
        }
    )


def request_key(request: bytes) -> str:
    """The file name of a request."""
    return hashlib.sha256(request).hexdigest()


def claim_key(wanted: Wanted) -> str | None:
    """What processes that want the same have in common; None where only content can tell."""
    request = request_of(wanted)
    return None if request is None else request_key(request + (wanted.digest or "").encode())


def name_of(wanted: Wanted) -> str | None:
    """The splint name that a wanted snapshot will have, where all that decides it is given."""
    head = wanted.commit or wanted.digest
    if head is None or wanted.roots is None or wanted.shared is None or wanted.include is None:
        return None
    if wanted.commit is None and wanted.repo is not None and wanted.digest is None:
        return None
    spec = spec12(wanted.roots, wanted.shared, wanted.include, wanted.overlay_digest)
    return f"_splint_{head[:12]}_{spec}"


def settled(wanted: Wanted) -> bool:
    """Tell whether a pack with the right digest answers it, whatever the commit says."""
    return None not in (wanted.digest, wanted.roots, wanted.shared, wanted.include)


def answers(found: Snapshot, wanted: Wanted) -> bool:
    """Tell whether a record is what was asked for: names are short, so everything is compared."""
    return (
        found.commit == wanted.commit
        and found.overlay == wanted.overlay_digest
        and (wanted.roots is None or found.roots == wanted.roots)
        and (wanted.shared is None or found.shared == wanted.shared)
        and (wanted.include is None or found.include == wanted.include)
        and (wanted.digest is None or found.digest == wanted.digest)
    )
