"""What of a work tree must travel in a checkpoint, because the remote lacks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codevault_cache import limits
from codevault_cache.errors import CommitNotFound, TooLarge
from codevault_cache.gitobjects import TREE, object_id, write_pack
from codevault_cache.selection import selection_of
from codevault_cache.source import GITLINK, Absent, Item, laid_over
from codevault_cache.treepaths import path_bytes, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from codevault_cache.gittree import GitSource
    from codevault_cache.overlay import Overlay
    from codevault_cache.selection import Selection
    from codevault_cache.snapshot import Snapshot

_DIFF_LINES = 20_000
_QUOTED = {byte: f"\\{byte:03o}" for byte in (*range(32), *range(127, 256))} | {
    ord(char): f"\\{letter}" for char, letter in zip('\a\b\t\n\v\f\r"\\', 'abtnvfr"\\', strict=True)
}


def tree_ids(source: GitSource, selection: Selection) -> Iterator[str]:
    """Ids of all tree objects on the way to wanted files; some come more than once."""
    pending = [(source.tree, "")]
    while pending:
        oid, folder = pending.pop()
        yield oid
        for entry in source.entries(oid):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.mode == TREE and selection.descends(path):
                pending.append((entry.oid, path))


def _blobs(source: GitSource, selection: Selection) -> Iterator[tuple[str, Item]]:
    """The wanted files of a tree, and the pyproject.toml that may say which files are wanted."""
    for path, item in source.walk(selection.descends):
        if item.mode != GITLINK and (selection.takes(path) or path == "pyproject.toml"):
            yield path, item


def pack_of_commit(path: str, snapshot: Snapshot, overlay: Overlay | None) -> bytes | None:
    """Pack all wanted objects of a snapshot's commit, read from a local repository.

    Args:
        path: The repository, of any local form.
        snapshot: Which commit, and which of its files.
        overlay: What is laid over it: its contents are packed as well.

    Returns:
        A git pack of whole objects, or None where the repository or the commit is gone.

    Raises:
        TooLarge: They are more than may travel.
    """
    from codevault_cache.gitdir import gitdir_of
    from codevault_cache.gittree import Objects, source_at
    from codevault_cache.objectstores import read_only

    found = gitdir_of(path)
    if found is None or snapshot.commit is None:
        return None
    selection = selection_of(snapshot.roots, snapshot.include)
    try:
        with read_only(found.objects, snapshot.commit) as store:
            source = source_at(Objects(store), snapshot.commit, path)
            return travelling_of(
                source, snapshot.commit, None, None, selection, overlay, embed=True
            )
    except CommitNotFound:
        return None


def travelling_of(
    source: GitSource,
    head: str,
    below: GitSource | None,
    base: str | None,
    selection: Selection,
    overlay: Overlay | None,
    *,
    embed: bool,
) -> bytes | None:
    """Pack the wanted objects that the remote lacks.

    Args:
        source: The tree of the commit.
        head: The commit.
        below: The tree of `base`, or None.
        base: The nearest ancestor that the remote has, or None.
        selection: Which files are wanted.
        overlay: The uncommitted changes.
        embed: Take all wanted objects, whether the remote has them or not.

    Returns:
        A git pack of whole objects, or None where nothing must travel.

    Raises:
        TooLarge: They are more than may travel.
    """
    objects: dict[str, tuple[str, bytes, str]] = {}
    sha256 = len(head) == 64
    if embed or base != head:
        there: set[str] = set()
        if below is not None and not embed:
            # Only what a fetch of the wanted paths of `base` brings counts as being there.
            there.update(tree_ids(below, selection))
            there.update(item.oid or "" for _, item in _blobs(below, selection))
        objects[head] = ("commit", source.objects.get(head, "commit"), "")
        for oid in tree_ids(source, selection):
            if oid not in there and oid not in objects:
                objects[oid] = ("tree", source.objects.get(oid, "tree"), "")
        for path, item in _blobs(source, selection):
            oid = item.oid or ""
            if oid in there or oid in objects:
                continue
            try:
                content = item.read()
            except Absent:
                continue  # it is left out of the snapshot as well
            if len(content) <= limits.FILE_BYTES or selection.named(path):
                objects[oid] = ("blob", content, path)
    for path, value in (overlay.files if overlay is not None else {}).items():
        if value is not None:
            objects[object_id("blob", value[1], sha256=sha256)] = ("blob", value[1], path)
    if not objects:
        return None
    order = sorted(objects, key=lambda oid: (objects[oid][0], objects[oid][2], oid))
    pack = write_pack([objects[oid][:2] for oid in order], sha256=sha256)
    if len(pack) > limits.OBJECTS_BYTES:
        largest = sorted(objects.values(), key=lambda found: -len(found[1]))[:5]
        listed = ", ".join(
            f"{shown(path)} ({len(content):,} bytes)" for _, content, path in largest
        )
        raise TooLarge(
            f"The code that must travel is larger than {limits.OBJECTS_BYTES:,} bytes.",
            f"The largest files: {listed}.",
            "git push, or add them to .gitignore",
        )
    return pack


def diff_of(
    below: GitSource, source: GitSource, selection: Selection, overlay: Overlay | None
) -> bytes | None:
    """Write down for people what changed; it is never read back.

    Args:
        below: The tree that the remote has.
        source: The tree of the commit.
        selection: Which files are wanted.
        overlay: The uncommitted changes.

    Returns:
        A unified diff, or None where nothing changed.
    """
    old = laid_over(below, selection, None)
    new = laid_over(source, selection, overlay)
    pieces: list[str] = []
    for path in sorted({*old, *new}, key=path_bytes):
        before, after = old.get(path), new.get(path)
        if _same(before, after):
            continue
        pieces.extend(_file_diff(path, before, after))
    return "".join(pieces).encode("utf-8", "surrogateescape") or None


def _same(before: Item | None, after: Item | None) -> bool:
    """Tell, from ids alone, whether nothing changed."""
    if before is None or after is None or before.mode != after.mode:
        return False
    return before.oid is not None and before.oid == after.oid


def _lines(item: Item | None) -> list[str] | None:
    """The lines of a text file; None for a binary or a very long one."""
    if item is None:
        return []
    try:
        content = item.read()
    except Absent:
        return None
    if b"\0" in content[:8000] or content.count(b"\n") > _DIFF_LINES:
        return None
    return content.decode("utf-8", "surrogateescape").splitlines(keepends=True)


def quoted(path: str) -> str:
    """A path as git writes it in a diff: in quotes, with escapes, where it is not plain ASCII."""
    text = "".join(_QUOTED.get(byte) or chr(byte) for byte in path_bytes(path))
    return path if text == path else f'"{text}"'


def _file_diff(path: str, before: Item | None, after: Item | None) -> Iterator[str]:
    from difflib import unified_diff

    old, new = _lines(before), _lines(after)
    modes = (before.mode if before else 0, after.mode if after else 0)
    if modes[0] == modes[1] and old is not None and old == new:
        return
    yield f"diff --git {quoted(f'a/{path}')} {quoted(f'b/{path}')}\n"
    if modes[0] != modes[1]:
        yield f"old mode {modes[0]:06o}\nnew mode {modes[1]:06o}\n"
    if old is None or new is None:
        yield "Binary files differ\n"
        return
    a = quoted(f"a/{path}") if before else "/dev/null"
    b = quoted(f"b/{path}") if after else "/dev/null"
    for line in unified_diff(old, new, a, b):
        yield line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"
