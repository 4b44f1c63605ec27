"""A plain folder as a source of files."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from codevault_cache.errors import RepositoryNotFound
from codevault_cache.limits import DEPTH, FILES, refuse_above
from codevault_cache.source import FILE, LINK, PROGRAM, Absent, Item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class FolderSource:
    """The files of a folder as they are now; `.git` is not among them."""

    def __init__(self, top: str) -> None:
        if not os.path.isdir(top):
            raise RepositoryNotFound(f"There is no folder {top!r}.", "", "")
        self.top = os.path.abspath(top)

    def walk(self, descends: Callable[[str], bool]) -> Iterator[tuple[str, Item]]:
        """All files below the folders that `descends` lets in."""
        if descends(""):
            yield from self._walk("", descends, 0)

    def _walk(
        self, folder: str, descends: Callable[[str], bool], depth: int
    ) -> Iterator[tuple[str, Item]]:
        refuse_above(DEPTH, depth, "folders inside each other")
        with os.scandir(os.path.join(self.top, folder) if folder else self.top) as found:
            entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
        refuse_above(FILES, len(entries), "files in one folder")
        for entry in entries:
            if entry.name == ".git":
                continue
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if descends(path):
                    yield from self._walk(path, descends, depth + 1)
                continue
            item = item_of(entry.path)
            if item is not None:
                yield path, item


def item_of(path: str) -> Item | None:
    """One file of this machine as git sees it; None for what git does not track."""
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return Item(LINK, lambda: os.fsencode(os.readlink(path)), status.st_size)
    if not stat.S_ISREG(status.st_mode):
        return None

    def read() -> bytes:
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise Absent(str(error)) from None

    mode = PROGRAM if status.st_mode & stat.S_IXUSR else FILE
    return Item(mode, read, status.st_size)
