"""The cache of snapshots on this machine, as its users see it.

A hit reads one record, one pack header and one code pack: no network, no git, no lock.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from codevault_cache import environ, paths
from codevault_cache.errors import CorruptEntry, Missing
from codevault_cache.laidout import laid_out
from codevault_cache.snapshot import DIGEST, NAME, Snapshot, read_owned
from codevault_cache.tree import Tree
from codevault_cache.wanted import Wanted, answers, name_of, request_key, request_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from codevault_cache.inventory import Entry
    from codevault_cache.verify import Report

_log = logging.getLogger("codevault_cache")


@dataclass(frozen=True, slots=True)
class Cache:
    """A content-addressed store of trees over one writable and several read-only folders.

    Attributes:
        roots: The folders; only the first is written.
        distrusted: Packs of this process's experience that are damaged, and cannot be set aside.
    """

    roots: tuple[str, ...]
    distrusted: set[str] = field(default_factory=set, compare=False, repr=False)

    @classmethod
    def open(
        cls, paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None
    ) -> Cache:
        """Open the cache; nothing is written until something is fetched.

        Args:
            paths: Its folders; None asks CODEVAULT_CACHE, then the platform's place for caches.

        Returns:
            The cache.

        Raises:
            Unwritable: Nothing is named, and this user has no place for it.
        """
        return cls(environ.cache_roots(paths))

    def find(self, wanted: Wanted) -> Snapshot | None:
        """Look a snapshot up; never fetch.

        Args:
            wanted: What is looked for.

        Returns:
            The snapshot, whose pack is in the cache; None is a miss.
        """
        name = name_of(wanted)
        request = None if name is not None else request_of(wanted)
        for root in self.roots:
            found = None
            if name is not None:
                found = self._record(root, paths.snapshot(root, name), b"")
            elif request is not None:
                path = paths.request(root, request_key(request))
                found = self._record(root, path, request + b"\n")
            if found is not None and answers(found, wanted) and self.has(found.digest):
                return found
        return None

    def snapshot(self, name: str) -> Snapshot | None:
        """The record of a splint name.

        Args:
            name: As in `Snapshot.name`.

        Returns:
            The verified record, or None.
        """
        if not NAME.fullmatch(name):
            return None
        for root in self.roots:
            found = self._record(root, paths.snapshot(root, name), b"")
            if found is not None and found.name == name:
                return found
        return None

    def _record(self, root: str, path: str, prefix: bytes) -> Snapshot | None:
        try:
            data, owner = read_owned(path)
            # Records say what runs: one's own count, root's, and those of the folder's owner.
            if owner not in (os.geteuid(), 0) and owner != os.stat(root).st_uid:
                _log.warning("a record that another user wrote does not count: %s", path)
                return None
        except OSError:
            return None
        try:
            # A request's record begins with the request: a record under another's name is noticed.
            if not data.startswith(prefix):
                raise CorruptEntry("A request record is damaged.", path)
            return Snapshot.from_json(data[len(prefix) :])
        except CorruptEntry:
            self._set_aside(root, path)
            return None

    def _set_aside(self, root: str, path: str) -> None:
        if root == self.roots[0]:
            from codevault_cache.removal import set_aside

            _log.warning("a damaged cache entry is set aside: %s", path)
            set_aside(path, paths.quarantine(root))
        elif path not in self.distrusted:
            _log.warning("a damaged entry of a read-only cache is passed over: %s", path)
            self.distrusted.add(path)

    def has(self, digest: str) -> bool:
        """Tell whether the source pack of a digest is there."""
        packs = (paths.pack(root, digest) for root in self.roots)
        return any(os.path.exists(pack) for pack in packs if pack not in self.distrusted)

    def tree(self, digest: str) -> Tree:
        """Open a verified tree.

        Args:
            digest: The snapshot's digest.

        Returns:
            The tree; its files are laid out.

        Raises:
            Missing: No folder of the cache has it.
            CorruptEntry: The only pack is damaged; it has been set aside, and `warm` fetches it
                again.
        """
        if not DIGEST.fullmatch(digest):
            raise Missing(f"{ascii(digest)[:100]} is no digest.", "", "")
        damaged: CorruptEntry | None = None
        for root in self.roots:
            path = paths.pack(root, digest)
            aside = partial(self._set_aside, root, path)
            if path in self.distrusted:
                continue
            try:
                tree = Tree(path, digest, "", aside)
            except Missing:
                continue
            except CorruptEntry as error:
                damaged = error
                aside()
                continue
            if root == self.roots[0]:
                tree.touch()
            tree.folder = laid_out(self.roots, tree)
            return tree
        raise damaged or Missing(
            f"The cache does not hold the snapshot {digest[:12]}….",
            f"Looked in {', '.join(self.roots)}.",
            "codevault prefetch <checkpoint>",
        )

    def publish(self, files: Mapping[str, tuple[int, bytes]], expected: str | None = None) -> str:
        """Keep the files of a snapshot.

        Args:
            files: Tree path to git mode and content.
            expected: The digest that they must have; None takes any.

        Returns:
            The digest, under which they can be opened from now on.

        Raises:
            UnsafeName: A path must not become a file on this machine.
            DigestMismatch: They have another digest; nothing is kept.
            Unwritable: The first folder does not take them.
        """
        from codevault_cache.packing import put

        return put(self.roots, files, expected)

    def record(self, snapshot: Snapshot, wanted: Wanted | None = None) -> None:
        """Write down what a name stands for, after its pack was published.

        Args:
            snapshot: What was fetched.
            wanted: What was asked for; a later equal request is a hit.

        Raises:
            Unwritable: The first folder does not take it.
        """
        from codevault_cache.atomicwrite import publish_file, written

        root = self.roots[0]
        data = snapshot.to_json()
        final = paths.snapshot(root, snapshot.name)
        old = self._record(root, final, b"")
        # Write-once, but for one case: the old digest is not the one that the caller knows to be
        # right.
        replace = (
            old is not None
            and wanted is not None
            and wanted.digest == snapshot.digest != old.digest
        )
        request = None if wanted is None else request_of(wanted)
        with written(root):
            paths.prepare(root)
            publish_file(final, paths.tmp(root), (data,), replace=replace)
            if request is not None and wanted is not None and name_of(wanted) is None:
                path = paths.request(root, request_key(request))
                self._record(root, path, request + b"\n")  # a damaged one is set aside
                answer = request + b"\n" + data
                publish_file(path, paths.tmp(root), (answer,), replace=replace)

    def derived(self, digest: str, tag: str, make: Callable[[], bytes]) -> bytes:
        """Get bytes that this user's Python derived from a snapshot, deriving them where needed.

        Args:
            digest: The snapshot's digest.
            tag: The kind of Python; matches [a-z0-9._-]+.
            make: Derives them.

        Returns:
            The bytes: verified, or just derived.
        """
        from codevault_cache.derived import derived

        return derived(self.roots, digest, tag, make)

    def ls(self) -> list[Entry]:
        """All snapshots in the cache, by name."""
        from codevault_cache.inventory import entries

        return entries(self)

    def verify(self) -> Report:
        """Hash everything again: packs, records, laid-out files, code packs."""
        from codevault_cache.verify import verify

        return verify(self)
