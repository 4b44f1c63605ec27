"""How much of the disk entries take: what `du` would say, each inode counted once."""

from __future__ import annotations

import os
import stat
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BLOCK = 512
"""The unit of `st_blocks` on every system that has it."""


def inodes(place: str) -> Iterator[tuple[tuple[int, int], int]]:
    """Identity and allocated bytes of an entry and of everything in it, following no link."""
    try:
        status = os.lstat(place)
        yield (status.st_dev, status.st_ino), status.st_blocks * _BLOCK
        if not stat.S_ISDIR(status.st_mode):
            return
        found = list(os.scandir(place))
    except OSError:
        return
    for entry in found:
        yield from inodes(entry.path)


class Usage:
    """The inodes of a folder, so that it is known what removing some entries would free.

    Attributes:
        bytes: Allocated now.
        count: Number of inodes now.
    """

    def __init__(self, place: str) -> None:
        self._sizes: dict[tuple[int, int], int] = {}
        self._names: Counter[tuple[int, int]] = Counter()
        for inode, size in inodes(place):
            self._sizes[inode] = size
            self._names[inode] += 1
        self.bytes = sum(self._sizes.values())
        self.count = len(self._sizes)

    def remove(self, places: Iterable[str]) -> int:
        """Reckon as if some entries were removed.

        Args:
            places: Their paths, inside the folder, each not removed before.

        Returns:
            The bytes that come free: a file with further names here stays.
        """
        before = self.bytes
        for place in places:
            for inode, _ in inodes(place):
                self._names[inode] -= 1
                if self._names[inode] == 0:
                    self.bytes -= self._sizes[inode]
                    self.count -= 1
        return before - self.bytes


def allocated(places: Iterable[str]) -> int:
    """The bytes that some entries take together, as `du` counts them."""
    return sum(dict(pair for place in places for pair in inodes(place)).values())
