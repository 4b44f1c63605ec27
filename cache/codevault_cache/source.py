"""Where the files of a snapshot come from, whatever holds them, and how they become its listing."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from codevault_cache import limits
from codevault_cache.errors import LeftOut, LfsPointer, SubmoduleRefused
from codevault_cache.selection import (
    Selection,
    check_roots,
    default_roots,
    selection_of,
    stated_in,
)
from codevault_cache.treepaths import check_paths, path_bytes, shown, spelled_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from codevault_cache.overlay import Overlay

FILE, PROGRAM, LINK, GITLINK = 0o100644, 0o100755, 0o120000, 0o160000
_LFS = b"version https://git-lfs.github.com/spec/v1"


class Absent(Exception):  # noqa: N818  (it is caught here, not reported)
    """The source lists a file and does not have its content."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a source: its git mode, and how to get its content.

    Attributes:
        mode: A file's, a link's or a submodule's.
        read: Gives the content; raises `Absent` where the source lacks it.
        size: Number of bytes, where the source knows it without reading.
        oid: Git object id, where the source knows it without reading.
    """

    mode: int
    read: Callable[[], bytes]
    size: int | None = None
    oid: str | None = None


def item_with(mode: int, content: bytes) -> Item:
    """A file whose content is at hand."""
    return Item(mode, lambda: content, len(content))


class Source(Protocol):
    """A tree of files: of a commit, a folder, a wheel."""

    def walk(self, descends: Callable[[str], bool]) -> Iterator[tuple[str, Item]]:
        """All files below the folders that `descends` lets in; "" is asked first."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Roots, shared names and include globs, after everybody had their say."""

    roots: tuple[str, ...]
    shared: tuple[str, ...]
    include: tuple[str, ...]

    @property
    def selection(self) -> Selection:
        """The choice, ready to be asked about paths."""
        return selection_of(self.roots, self.include)


def pyproject_of(source: Source) -> bytes | None:
    """The content of the tree's own pyproject.toml, or None."""
    for path, item in source.walk(lambda folder: folder == ""):
        if path == "pyproject.toml" and item.mode in (FILE, PROGRAM):
            try:
                content = item.read()
            except Absent:
                return None
            return content if len(content) <= limits.FILE_BYTES else None
    return None


def choose(
    source: Source,
    roots: tuple[str, ...] | None,
    shared: tuple[str, ...] | None,
    include: tuple[str, ...] | None,
) -> Choice:
    """Settle roots, shared and include: arguments, then `[tool.codevault]`, then defaults.

    Args:
        source: The tree, without any overlay: an uncommitted edit must not change what a commit
            means.
        roots: The caller's, or None.
        shared: The caller's, or None.
        include: The caller's, or None.

    Returns:
        All three.
    """
    if roots is not None and shared is not None and include is not None:
        return Choice(roots, shared, include)
    stated = stated_in(pyproject_of(source))
    if roots is None:
        roots = stated.roots
    if roots is None:
        below = source.walk(lambda folder: folder in ("", "src") or folder.startswith("src/"))
        roots = default_roots(path for path, _ in below)
    return Choice(
        roots,
        shared if shared is not None else stated.shared or (),
        include if include is not None else stated.include or (),
    )


def laid_over(source: Source, selection: Selection, overlay: Overlay | None) -> dict[str, Item]:
    """The selected items of a source with an overlay applied; every file of an overlay is taken."""
    items = {p: item for p, item in source.walk(selection.descends) if selection.takes(p)}
    for path, value in (overlay.files if overlay is not None else {}).items():
        if value is None:
            items.pop(path, None)
        else:
            items[path] = item_with(*value)
    limits.refuse_above(limits.FILES, len(items), "files")
    return items


def compose(
    source: Source, choice: Choice, overlay: Overlay | None
) -> tuple[dict[str, tuple[int, bytes]], tuple[str, ...]]:
    """Make the files of a snapshot.

    Args:
        source: The tree.
        choice: What is taken of it.
        overlay: What is laid over it.

    Returns:
        Tree path to mode and content, and the paths that are left out, spelled as text.

    Raises:
        UnsafeName: A selected path is refused.
        RootsMissing: A root holds no file.
        SubmoduleRefused: A submodule lies under a root that is not the top.
        LfsPointer: A module's content is elsewhere.
        LeftOut: `include` names a file whose content is not to be had.
    """
    selection = choice.selection
    items = laid_over(source, selection, overlay)
    check_paths(items)
    for path, item in items.items():
        if item.mode == GITLINK:
            _refuse_submodule(path, choice.roots)
    check_roots(choice.roots, items, lambda: _tops(source))
    explicit = set(overlay.files) if overlay is not None else set()
    files: dict[str, tuple[int, bytes]] = {}
    left_out: list[str] = []
    total = 0
    for path in sorted(items, key=path_bytes):
        item = items[path]
        wanted = path in explicit or selection.named(path)
        target = _resolved(path, items)
        taken = None if target is None else _content(items[target], wanted)
        if taken is None or target is None:
            if selection.named(path) and item.mode in (FILE, PROGRAM):
                raise LeftOut(
                    f"include names {shown(path)}, and its content is not to be had.",
                    "The origin does not have this file's content.",
                    "name an origin that has it: repo=PATH",
                )
            left_out.append(spelled_out(path))
            continue
        if taken.startswith(_LFS):
            if path.endswith(".py"):
                raise LfsPointer(
                    f"The module {shown(path)} is a git-lfs pointer.",
                    "Its content is not in the repository, but on an LFS server.",
                    "git lfs migrate export --include='*.py'",
                )
            left_out.append(spelled_out(path))
            continue
        total += len(taken)
        limits.refuse_above(limits.TOTAL_BYTES, total, "bytes")
        # A link has no mode of its own: its copy is a plain file.
        files[path] = (item.mode if item.mode != LINK else FILE, taken)
    return files, tuple(left_out)


def _tops(source: Source) -> Iterator[str]:
    for path, _ in source.walk(lambda folder: folder.count("/") < 4):
        if "/" in path:
            yield path.split("/", 1)[0]


def _content(item: Item, any_size: bool) -> bytes | None:
    if item.size is not None and item.size > limits.FILE_BYTES and not any_size:
        return None
    try:
        content = item.read()
    except Absent:
        return None
    return content if any_size or len(content) <= limits.FILE_BYTES else None


def _resolved(path: str, items: Mapping[str, Item]) -> str | None:
    """Follow links inside the selected tree to a regular file; None where that fails."""
    for _ in range(8):
        item = items.get(path)
        if item is None or item.mode == GITLINK:
            return None
        if item.mode != LINK:
            return path
        try:
            content = item.read()
        except Absent:
            return None
        if content.startswith(b"/") or b"\0" in content or len(content) > limits.PATH_BYTES:
            return None
        target = content.decode("utf-8", "surrogateescape")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return None


def _refuse_submodule(path: str, roots: tuple[str, ...]) -> None:
    if any(root != "." and (path == root or path.startswith(root + "/")) for root in roots):
        raise SubmoduleRefused(
            f"The submodule {shown(path)} lies under a root.",
            "Its files are in another repository, so that this commit does not say what they are.",
            "Name roots beside it, or lay its files over the tree: overlay={...}",
        )
