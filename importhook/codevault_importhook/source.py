"""What the hook needs from a tree of files: paths, verified bytes, and a real place on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection


class ModuleSource(Protocol):
    """One immutable tree of files, named by relative POSIX paths without a leading `./`."""

    @property
    def digest(self) -> str:
        """A hash that names the whole content; equal digests are equal trees."""

    @property
    def paths(self) -> Collection[str]:
        """All files of the tree; asking whether one is `in` must be quick."""

    def read(self, path: str) -> bytes:
        """The verified bytes of one file."""

    def location(self, path: str) -> str:
        """The absolute path of the real file or folder; `""` is the top of the tree."""
