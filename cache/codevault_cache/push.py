"""Push snapshots to a mirror, for others to take from there."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, Any

from codevault_cache import paths
from codevault_cache.errors import CommitNotFound
from codevault_cache.gitdir import gitdir_of
from codevault_cache.gitobjects import write_pack
from codevault_cache.gittree import Objects, source_at
from codevault_cache.pack import encode
from codevault_cache.selection import selection_of
from codevault_cache.source import LINK, Absent
from codevault_cache.travel import tree_ids
from codevault_cache.wanted import name_of, request_key, request_of

if TYPE_CHECKING:
    from codevault_cache.cache import Cache
    from codevault_cache.gittree import GitSource
    from codevault_cache.snapshot import Snapshot
    from codevault_cache.wanted import Wanted


def push(cache: Cache, snapshot: Snapshot, wanted: Wanted, url: str) -> int:
    """Push one snapshot; what the mirror has already is left as it is.

    Args:
        cache: Where it is.
        snapshot: The snapshot.
        wanted: How it was asked for: others who ask the same find it.
        url: The mirror's folder, in any form that fsspec knows.

    Returns:
        The number of bytes written.

    Raises:
        OSError: The mirror cannot be written.
    """
    from fsspec.core import url_to_fs

    fs, top = url_to_fs(url)
    tree = cache.tree(snapshot.digest)
    try:
        _, pieces = encode({path: (tree.mode(path), tree.read(path)) for path in tree.paths})
    finally:
        tree.close()
    # Records last: whoever finds one finds all that it names.
    files = [(paths.pack("", snapshot.digest), b"".join(pieces))]
    objects = _commit_of(cache, snapshot)
    if objects is not None:
        files.append((paths.commit("", snapshot.name), objects))
    files.append((paths.snapshot("", snapshot.name), snapshot.to_json()))
    request = request_of(wanted)
    if request is not None and name_of(wanted) is None:
        answer = request + b"\n" + snapshot.to_json()
        files.append((paths.request("", request_key(request)), answer))
    return sum(_put(fs, posixpath.join(top, path.lstrip("/")), data) for path, data in files)


def _put(fs: Any, path: str, data: bytes) -> int:
    if fs.exists(path) and fs.size(path) == len(data):
        return 0
    if path.startswith("/"):  # object stores have no folders, and would make a missing bucket
        fs.makedirs(posixpath.dirname(path), exist_ok=True)
    # Where names appear before their bytes are complete, they must be other names.
    tmp = f"{path}.{os.urandom(6).hex()}.tmp"
    fs.pipe_file(tmp, data)
    fs.mv(tmp, path)
    return len(data)


def _commit_of(cache: Cache, snapshot: Snapshot) -> bytes | None:
    """The commit, the trees on the way to its files, and what else only git knows of them."""
    from codevault_cache.depot import read_only

    if snapshot.commit is None or snapshot.repo is None:
        return None
    found = gitdir_of(snapshot.repo) if os.path.isabs(snapshot.repo) else None
    depot = paths.objects(cache.roots[0], paths.depot_key(snapshot.repo))
    place = found.objects if found is not None else depot
    if not os.path.isdir(place):
        return None
    with read_only(place, snapshot.commit) as store:
        try:
            source = source_at(Objects(store), snapshot.commit, snapshot.repo)
            return write_pack(_proof(source, snapshot), sha256=len(snapshot.commit) == 64)
        except (Absent, CommitNotFound):
            return None


def _proof(source: GitSource, snapshot: Snapshot) -> list[tuple[str, bytes]]:
    assert snapshot.commit is not None
    selection = selection_of(snapshot.roots, snapshot.include)
    objects = [("commit", source.objects.get(snapshot.commit, "commit"))]
    trees = dict.fromkeys(tree_ids(source, selection))
    objects += [("tree", source.objects.get(oid, "tree")) for oid in trees]
    for path, item in source.walk(selection.descends):
        if path == "pyproject.toml" or (item.mode == LINK and selection.takes(path)):
            objects.append(("blob", item.read()))
    return objects
