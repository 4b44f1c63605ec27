"""What a mirror says of a snapshot, proven: by its digest, or by git's hashes from the commit down.

v1/src/<aa>/<digest>.cvs      source packs, as in the cache
v1/snapshots/<name>.json      what a splint name stands for
v1/requests/<key>.json        the same by what was asked for
v1/commits/<name>.pack        the commit and the trees that lead to a snapshot's files
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from typing import TYPE_CHECKING, Any

from codevault_cache import limits, paths
from codevault_cache.errors import CorruptEntry
from codevault_cache.gitobjects import object_id, read_pack
from codevault_cache.gittree import Objects, source_at
from codevault_cache.pack import header_length, parse_header
from codevault_cache.selection import selection_of
from codevault_cache.snapshot import Snapshot
from codevault_cache.source import Absent, item_with
from codevault_cache.traffic import count
from codevault_cache.wanted import name_of, request_key, request_of, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from codevault_cache.source import Item, Source
    from codevault_cache.wanted import Wanted

_RECORD_BYTES = 64 << 20


class PackSource:
    """The files of a source pack whose digest the caller knows."""

    def __init__(self, files: dict[str, tuple[int, bytes]]) -> None:
        self.files = files

    def walk(self, descends: Callable[[str], bool]) -> Iterator[tuple[str, Item]]:
        """All of them; what is taken is decided by the digest."""
        descends("")
        return ((path, item_with(*value)) for path, value in self.files.items())


def proven_source(wanted: Wanted, url: str, *, remote: bool) -> Source | None:
    """Read what a mirror has of a snapshot.

    Args:
        wanted: What is wanted.
        url: The mirror's folder, in any form that fsspec knows.
        remote: Whether that goes over a network, and is counted.

    Returns:
        The files; None where the mirror knows nothing of it.

    Raises:
        CacheError: What it has is not what it says.
        OSError: It cannot be read. Libraries raise other errors as well.
    """
    from fsspec.core import url_to_fs

    fs, top = url_to_fs(url)

    def read(relative: str, limit: int) -> bytes:
        count(requests=remote)
        with fs.open(posixpath.join(top, relative), "rb") as file:
            data = _bounded(file, limit)
        count(received=len(data) * remote)
        return data

    def files_of(digest: str) -> dict[str, tuple[int, bytes]]:
        count(requests=remote)
        files = _files(fs, top, digest)
        count(received=sum(len(content) for _, content in files.values()) * remote)
        return files

    if settled(wanted) and wanted.digest is not None:
        return PackSource(files_of(wanted.digest))
    record = _record(wanted, read)
    if record is None or wanted.commit is None:
        return None
    files = files_of(record.digest)
    known = dict(read_pack(read(_relative(paths.commit("", record.name)), limits.OBJECTS_BYTES)))
    sha256 = len(wanted.commit) == 64
    for _, content in files.values():
        known[object_id("blob", content, sha256=sha256)] = ("blob", content)
    source = source_at(Objects(None, known), wanted.commit, "The mirror")
    if wanted.digest is None:
        _refuse_gaps(source, record, wanted)
    return source


def _refuse_gaps(source: Source, record: Snapshot, wanted: Wanted) -> None:
    """Without a digest, a file that the mirror lacks might be one that it holds back."""
    laid = wanted.overlay.files if wanted.overlay is not None else {}
    selection = selection_of(record.roots, record.include)
    for path, item in source.walk(selection.descends):
        if selection.takes(path) and path not in laid:
            try:
                item.read()
            except Absent:
                raise CorruptEntry(
                    "The mirror lacks a file of the commit, and nobody knows its digest.", path
                ) from None


def _record(wanted: Wanted, read: Callable[[str, int], bytes]) -> Snapshot | None:
    name, request = name_of(wanted), request_of(wanted)
    if name is not None:
        return Snapshot.from_json(read(_relative(paths.snapshot("", name)), _RECORD_BYTES))
    if request is None:
        return None
    data = read(_relative(paths.request("", request_key(request))), _RECORD_BYTES)
    if not data.startswith(request + b"\n"):
        raise CorruptEntry("A record of the mirror answers another question.")
    return Snapshot.from_json(data[len(request) + 1 :])


def _relative(path: str) -> str:
    return path.replace(os.sep, "/").lstrip("/")


def _bounded(file: Any, limit: int) -> bytes:
    """All bytes of an open file, which may be endless."""
    pieces, left = [], limit + 1
    while left > 0 and (piece := file.read(min(left, 1 << 20))):
        pieces.append(piece)
        left -= len(piece)
    if left <= 0:
        raise CorruptEntry("A file of the mirror is longer than it may be.")
    return b"".join(pieces)


def _files(fs: Any, top: str, digest: str) -> dict[str, tuple[int, bytes]]:
    """The files of a source pack, each byte hashed; nothing before, between or after them."""
    with fs.open(posixpath.join(top, _relative(paths.pack("", digest))), "rb") as file:
        start = file.read(12)
        length = header_length(start)
        raw = _upto(file, length)
        header = parse_header(raw)
        if header.digest != digest:
            raise CorruptEntry("A source pack of the mirror is another one.", digest)
        files: dict[str, tuple[int, bytes]] = {}
        for path, member in header.members.items():
            content = _upto(file, member.length)
            if hashlib.sha256(content).hexdigest() != member.sha256:
                raise CorruptEntry("A source pack of the mirror is damaged.", digest)
            files[path] = (member.mode, content)
        if file.read(1):
            raise CorruptEntry("A source pack of the mirror has bytes to spare.", digest)
    return files


def _upto(file: Any, length: int) -> bytes:
    pieces, left = [], length
    while left > 0 and (piece := file.read(min(left, 1 << 20))):
        pieces.append(piece)
        left -= len(piece)
    if left:
        raise CorruptEntry("A file of the mirror is cut short.")
    return b"".join(pieces)
