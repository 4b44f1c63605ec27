"""A git tree as a source of files: objects are read by id, and hashed as they are read."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from codevault_cache.errors import CommitNotFound, HostileObject
from codevault_cache.gitobjects import GITLINK, TREE, TreeEntry, parse_tree, tree_of_commit
from codevault_cache.limits import DEPTH, FILES, refuse_above
from codevault_cache.source import Absent, Item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dulwich.object_store import DiskObjectStore

    from codevault_cache.overlay import Overlay
    from codevault_cache.selection import Selection

_LOOK = "git fsck --full, in the clone that it was read from"


class Objects:
    """Git objects by id: those in memory first, whose bytes were hashed, then those of a store."""

    def __init__(
        self, store: DiskObjectStore | None, *memory: Mapping[str, tuple[str, bytes]]
    ) -> None:
        self.store = store
        self.memory = memory

    def __contains__(self, oid: str | None) -> bool:
        if oid is None:
            return False
        if any(oid in held for held in self.memory):
            return True
        try:
            return self.store is not None and oid.encode() in self.store  # type: ignore[operator]
        except _damages() as error:
            why = type(error).__name__
        raise Damaged(f"Whether the git object {oid} is there cannot be read.", why, _LOOK)

    def read(self, oid: str) -> tuple[str, bytes]:
        """Kind and content of an object, which hash to its id.

        Raises:
            Absent: Nobody here has it.
            HostileObject: It is damaged.
        """
        held = next((held[oid] for held in self.memory if oid in held), None)
        return held if held is not None else self._stored(oid)

    def get(self, oid: str, kind: str) -> bytes:
        """The content of an object.

        Args:
            oid: Its id.
            kind: What it must be.

        Returns:
            Its bytes, which hash to the id.

        Raises:
            Absent: Nobody here has it.
            HostileObject: It is something else, or damaged.
        """
        found, content = self.read(oid)
        if found != kind:
            raise HostileObject(f"The git object {oid} is a {found}, and must be a {kind}.")
        return content

    def _stored(self, oid: str) -> tuple[str, bytes]:
        if self.store is None:
            raise Absent(oid)
        try:
            # Only this form of access hashes what it reads.
            found = self.store[oid.encode()]  # type: ignore[index]
            return found.type_name.decode(), found.as_raw_string()
        except KeyError:
            raise Absent(oid) from None
        except _damages() as error:
            why = type(error).__name__
        # Outside of the handler: its frames hold on to the mapped pack, which could not be closed
        # then.
        raise Damaged(f"The git object {oid} is damaged.", why, _LOOK)


def _damages() -> tuple[type[Exception], ...]:
    """What the library raises over packs, indexes and objects that are not well formed."""
    from dulwich.errors import ApplyDeltaError, ChecksumMismatch, FileFormatException
    from dulwich.pack import UnresolvedDeltas

    library = (ChecksumMismatch, FileFormatException, UnresolvedDeltas, ApplyDeltaError)
    return (
        *library, zlib.error, struct.error, ValueError, TypeError, IndexError, OverflowError,
        EOFError, AssertionError, MemoryError,
    )  # fmt: skip


class Damaged(HostileObject):
    """A store's bytes do not hash to the id that they are stored under."""


class GitSource:
    """The files of one git tree."""

    def __init__(self, objects: Objects, tree: str) -> None:
        self.objects = objects
        self.tree = tree
        self._parsed: dict[str, list[TreeEntry]] = {}

    def entries(self, oid: str) -> list[TreeEntry]:
        """The lines of one tree object."""
        if oid not in self._parsed:
            self._parsed[oid] = parse_tree(self.objects.get(oid, "tree"), len(oid) // 2)
        return self._parsed[oid]

    def walk(self, descends: Callable[[str], bool]) -> Iterator[tuple[str, Item]]:
        """All files below the folders that `descends` lets in."""
        pending = [(self.tree, "", 0)] if descends("") else []
        seen = 0
        while pending:
            oid, folder, depth = pending.pop()
            refuse_above(DEPTH, depth, "folders inside each other")
            entries = self.entries(oid)
            # A small pack can describe billions of paths, by folders that hold equal folders.
            seen += len(entries)
            refuse_above(2 * FILES, seen, "paths")
            for entry in entries:
                path = folder + entry.name
                if entry.mode != TREE:
                    yield path, self._item(entry)
                elif descends(path):
                    pending.append((entry.oid, path + "/", depth + 1))

    def _item(self, entry: TreeEntry) -> Item:
        def read() -> bytes:
            if entry.mode == GITLINK:
                raise Absent(entry.oid)
            return self.objects.get(entry.oid, "blob")

        return Item(entry.mode, read, oid=entry.oid)

    def folder(self, path: str) -> str | None:
        """The id of a folder's tree, or None where the path is no folder; "." is the top."""
        oid = self.tree
        for part in [] if path == "." else path.split("/"):
            found = [e.oid for e in self.entries(oid) if e.name == part and e.mode == TREE]
            if not found:
                return None
            oid = found[0]
        return oid


def source_at(objects: Objects, commit: str, origin: str) -> GitSource:
    """The tree of a commit.

    Args:
        objects: Where it is.
        commit: Full commit id.
        origin: Where the objects come from, as shown to people.

    Returns:
        The tree.

    Raises:
        CommitNotFound: The objects do not hold it.
    """
    try:
        return GitSource(objects, tree_of_commit(objects.get(commit, "commit")))
    except Absent:
        raise CommitNotFound(
            f"{origin} does not have the commit {commit}.",
            "It was never pushed there, or was removed by a rewrite of history.",
            "git push, from a clone that has it; or name that clone: repo=PATH",
        ) from None


def require_modules(source: GitSource, selection: Selection, overlay: Overlay | None) -> None:
    """Make sure that every wanted module is there.

    Args:
        source: The tree.
        selection: Which files are wanted.
        overlay: What is laid over it.

    Raises:
        Absent: With the id of one that is missing.
    """
    laid = overlay.files if overlay is not None else {}
    for path, item in source.walk(selection.descends):
        module = path.endswith(".py") and item.mode != GITLINK and path not in laid
        if module and selection.takes(path) and item.oid not in source.objects:
            raise Absent(item.oid)
