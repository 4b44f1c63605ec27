"""Push snapshots to a mirror, for others to take from there."""

from __future__ import annotations

import hashlib
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
from codevault_cache.unpushed import tree_ids
from codevault_cache.wanted import name_of, request_key, request_of, settled

if TYPE_CHECKING:
    from codevault_cache.cache import Cache
    from codevault_cache.gittree import GitSource
    from codevault_cache.snapshot import Snapshot
    from codevault_cache.wanted import Wanted


def push(cache: Cache, snapshot: Snapshot, wanted: Wanted, url: str) -> int:
    """Push one snapshot; what the mirror has already is left as it is, unless it is damaged.

    Args:
        cache: Where it is.
        snapshot: The snapshot.
        wanted: How it was asked for: others who ask the same find it.
        url: The mirror's folder, in any form that fsspec knows.

    Returns:
        The number of bytes written.

    Raises:
        CacheError: Its files are damaged, or what proves them is not to be had.
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
    proof = paths.commit("", snapshot.name)
    objects = _commit_of(cache, snapshot)
    if objects is None and not settled(wanted) and not fs.exists(_place(top, proof)):
        objects = _fetched(cache, snapshot, wanted)
    if objects is not None:
        files.append((proof, objects))
    files.append((paths.snapshot("", snapshot.name), snapshot.to_json()))
    request = request_of(wanted)
    if request is not None and name_of(wanted) is None:
        answer = request + b"\n" + snapshot.to_json()
        files.append((paths.request("", request_key(request)), answer))
    return sum(_put(fs, _place(top, path), data) for path, data in files)


def _place(top: str, path: str) -> str:
    return posixpath.join(top, path.lstrip("/"))


def _put(fs: Any, path: str, data: bytes) -> int:
    if _holds(fs, path, data):
        return 0
    if not path.startswith("/"):
        # Object stores have no folders, would make a missing bucket, and show whole objects only.
        fs.pipe_file(path, data)
        return len(data)
    fs.makedirs(posixpath.dirname(path), exist_ok=True)
    # Where names appear before their bytes are complete, they must be other names.
    tmp = f"{path}.{os.urandom(6).hex()}.tmp"
    fs.pipe_file(tmp, data)
    fs.mv(tmp, path)
    return len(data)


def _holds(fs: Any, path: str, data: bytes) -> bool:
    """Tell whether a file is there, and sound: who publishes again repairs what was damaged."""
    fs.invalidate_cache(posixpath.dirname(path))
    try:
        found = fs.info(path)
    except FileNotFoundError:
        return False
    if found.get("size") != len(data):
        return False
    # Most object stores say the MD5, which spares a look at the content.
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return str(found.get("ETag")).strip('"') == md5 or bool(fs.cat_file(path) == data)


def _commit_of(cache: Cache, snapshot: Snapshot) -> bytes | None:
    """The commit, the trees on the way to its files, and what else only git knows of them."""
    from codevault_cache.objectstores import read_only

    if snapshot.commit is None or snapshot.repo is None:
        return None
    found = gitdir_of(snapshot.repo) if os.path.isabs(snapshot.repo) else None
    key = paths.depot_key(snapshot.repo)
    places = (
        [paths.objects(root, key) for root in cache.roots] if found is None else [found.objects]
    )
    for place in filter(os.path.isdir, places):
        with read_only(place, snapshot.commit) as store:
            try:
                return _proof(source_at(Objects(store), snapshot.commit, snapshot.repo), snapshot)
            except (Absent, CommitNotFound):
                continue
    return None


def _fetched(cache: Cache, snapshot: Snapshot, wanted: Wanted) -> bytes | None:
    """The same from the repository; None where that does not have the commit either.

    Code that came from a mirror, from another cache or from a work tree came without it.
    """
    from codevault_cache.remote import source_from

    if snapshot.commit is None or snapshot.repo is None:
        return None
    try:
        with source_from(cache, snapshot, wanted.repo or snapshot.repo) as source:
            return _proof(source, snapshot)
    except (Absent, CommitNotFound):
        return None


def _proof(source: GitSource, snapshot: Snapshot) -> bytes:
    assert snapshot.commit is not None
    selection = selection_of(snapshot.roots, snapshot.include)
    objects = [("commit", source.objects.get(snapshot.commit, "commit"))]
    trees = dict.fromkeys(tree_ids(source, selection))
    objects += [("tree", source.objects.get(oid, "tree")) for oid in trees]
    for path, item in source.walk(selection.descends):
        if path == "pyproject.toml" or (item.mode == LINK and selection.takes(path)):
            objects.append(("blob", item.read()))
    return write_pack(objects, sha256=len(snapshot.commit) == 64)
