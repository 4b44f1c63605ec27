"""One verified tree: bytes from the source pack, and real files for everybody else.

It fits the import hook's `ModuleSource` by structure; neither library imports the other.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
from typing import TYPE_CHECKING

from codevault_cache import inuse
from codevault_cache.errors import CorruptEntry, Missing, Unreadable
from codevault_cache.pack import Header, Member, header_length, parse_header

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

_FIRST_READ = 1 << 16
_GONE = (errno.ENOENT, errno.ESTALE)
OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Failures that say something about this process, and nothing about the file."""


class Tree:
    """The files of one snapshot.

    Bytes are read from the pack's open file into private memory and hashed at each read, so that
    nobody who changes the cache can change what runs, and so that removing the pack does not
    disturb a reader.

    Attributes:
        digest: The snapshot's digest.
        folder: The top folder of the laid-out files.
    """

    __slots__ = ("_damaged", "_fd", "_header", "_used", "digest", "folder", "path")

    def __init__(
        self, path: str, digest: str, folder: str, damaged: Callable[[], object] | None = None
    ) -> None:
        """Open a pack and check its header.

        Args:
            path: The pack file.
            digest: The digest that the listing must have.
            folder: Where its files are laid out.
            damaged: Called when bytes turn out to be damaged, so that they are fetched again.

        Raises:
            Missing: There is no such file.
            CorruptEntry: The file is not the pack of that digest.
            Unreadable: This process cannot open files now.
        """
        self.digest, self.folder, self.path = digest, folder, path
        self._damaged = damaged
        self._fd = -1
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
            self._header = self._opened()
        except OSError as error:
            if isinstance(error, CorruptEntry):
                raise
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> CorruptEntry | Missing | Unreadable:
        if error.errno in _GONE:
            return Missing(f"The cache has no source pack {self.digest[:12]}…", self.path, "")
        kind = Unreadable if error.errno in OURS else CorruptEntry
        why = f"{self.path}: {error.strerror}"
        return kind("A source pack cannot be read.", why, "codevault cache verify")

    def _opened(self) -> Header:
        inuse.mark(self._fd)
        status = os.fstat(self._fd)
        # (Some file systems state no links at all.)
        if status.st_nlink == 0 and not os.path.exists(self.path):
            raise Missing("A source pack was just removed.", self.path)
        self._used = status.st_mtime
        if not stat.S_ISREG(status.st_mode):
            raise CorruptEntry("A source pack is no regular file.", self.path)
        start = os.pread(self._fd, _FIRST_READ, 0)
        length = header_length(start)
        rest = 12 + length - len(start)
        raw = start[12 : 12 + length] if rest <= 0 else start[12:] + self._pread(rest, len(start))
        header = parse_header(raw)
        if len(raw) != length or header.digest != self.digest or header.size != status.st_size:
            raise CorruptEntry(
                "A source pack is not what its name says.",
                f"{self.path}: listing {header.digest[:12]}…, {status.st_size} bytes, "
                f"expected {self.digest[:12]}…, {header.size} bytes.",
                "codevault cache verify",
            )
        return header

    def _pread(self, length: int, offset: int) -> bytes:
        pieces = []
        while length > 0:
            piece = os.pread(self._fd, length, offset)
            if not piece:
                break
            pieces.append(piece)
            length, offset = length - len(piece), offset + len(piece)
        return b"".join(pieces)

    def _member(self, path: str) -> Member:
        try:
            return self._header.members[path]
        except KeyError:
            raise Missing(f"The snapshot has no file {path!r}.", f"digest {self.digest}") from None

    @property
    def paths(self) -> AbstractSet[str]:
        """All tree paths, with `/` between components, sorted by their bytes when iterated."""
        return self._header.members.keys()

    def read(self, path: str) -> bytes:
        """The bytes of one file, checked against the listing now.

        Args:
            path: A tree path.

        Returns:
            The content, in memory that nobody else can change.

        Raises:
            CorruptEntry: The pack's bytes are not the listing's.
            Missing: The snapshot has no such file.
        """
        member = self._member(path)
        try:
            content = self._pread(member.length, member.offset)
        except OSError as error:
            raise self._failed(error) from None
        if hashlib.sha256(content).hexdigest() != member.sha256:
            if self._damaged is not None:
                self._damaged()
            raise CorruptEntry(
                f"The cached bytes of {path!r} are damaged.",
                f"{self.path} at byte {member.offset}",
                "codevault cache verify",
            )
        return content

    def location(self, path: str = "") -> str:
        """The absolute path of a laid-out file or folder; "" is the top folder."""
        return os.path.join(self.folder, *path.split("/")) if path else self.folder

    def sha256(self, path: str) -> str:
        """The sha256 of one file, as the listing says."""
        return self._member(path).sha256

    def mode(self, path: str) -> int:
        """The git mode of one file: 0o100644 or 0o100755."""
        return self._member(path).mode

    def length(self, path: str) -> int:
        """The number of bytes of one file."""
        return self._member(path).length

    def touch(self) -> None:
        """Note that it is used now, for those who collect what is not used; once a minute."""
        if abs(time.time() - self._used) > 60:
            with contextlib.suppress(OSError):
                os.utime(self._fd)

    def close(self) -> None:
        """Let go of the open file; the tree cannot be read afterwards."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        # os may be gone when the interpreter ends; the descriptor goes with the process then.
        if getattr(self, "_fd", -1) >= 0 and os is not None:
            os.close(self._fd)

    def __repr__(self) -> str:
        return f"Tree({self.digest[:12]}…, {len(self._header.members)} files)"
