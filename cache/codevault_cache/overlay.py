"""Files laid over a tree: uncommitted changes, and stand-ins for compiled modules."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from codevault_cache.errors import HostileObject
from codevault_cache.treepaths import check_path, path_bytes, path_spelled, spelled_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILE, PROGRAM, LINK = 0o100644, 0o100755, 0o120000
"""The git modes that a file of an overlay may have."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """Files laid over a tree, and files taken away from it.

    Attributes:
        files: Tree path to git mode and content; None where the file is deleted.
    """

    files: Mapping[str, tuple[int, bytes] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path, value in self.files.items():
            check_path(path)
            if value is not None and value[0] not in (FILE, PROGRAM, LINK):
                raise HostileObject(f"The overlay's {path!r} has the mode {value[0]:o}.")

    @property
    def digest(self) -> str:
        """sha256 of the overlay's listing: equal for equal changes, whatever they lie over."""
        total = hashlib.sha256(b"codevault-overlay-1\n")
        for path in sorted(self.files, key=path_bytes):
            value = self.files[path]
            what = (
                "deleted"
                if value is None
                else f"{value[0]:o} {hashlib.sha256(value[1]).hexdigest()}"
            )
            total.update(path_bytes(f"{what} {path}\n"))
        return total.hexdigest()

    def over(self, lower: Overlay | None) -> Overlay:
        """This overlay on top of another one."""
        return self if lower is None else Overlay({**lower.files, **self.files})

    def __bool__(self) -> bool:
        return bool(self.files)

    def __hash__(self) -> int:
        return hash(self.digest)


def overlay_of(value: Mapping[str, str | bytes] | os.PathLike[str] | str) -> Overlay:
    """Make an overlay of what a caller has at hand.

    Args:
        value: A mapping of tree path to text or bytes, or a folder.

    Returns:
        The overlay; a folder's executable bits are kept.
    """
    if not isinstance(value, (str, os.PathLike)):
        texts = {p: v.encode() if isinstance(v, str) else bytes(v) for p, v in value.items()}
        return Overlay({path: (FILE, content) for path, content in texts.items()})
    from codevault_cache.folder import FolderSource

    source = FolderSource(os.fspath(value))
    taken = {
        path: (item.mode, item.read())
        for path, item in source.walk(lambda name: name.rpartition("/")[2] != "__pycache__")
        if not path.endswith(".pyc")
    }
    return Overlay(taken)


def overlay_entries(overlay: Overlay) -> list[dict[str, Any]]:
    """Describe an overlay for a manifest: everything but the contents.

    Args:
        overlay: What was laid over the tree.

    Returns:
        One mapping per path: path, mode, git object id and sha256; or path and deleted.
    """
    from codevault_cache.gitobjects import object_id

    entries: list[dict[str, Any]] = []
    for path in sorted(overlay.files, key=path_bytes):
        value = overlay.files[path]
        if value is None:
            entries.append({"path": spelled_out(path), "deleted": True})
        else:
            mode, content = value
            entries.append(
                {
                    "path": spelled_out(path),
                    "mode": f"{mode:o}",
                    "oid": object_id("blob", content),
                    "sha256": hashlib.sha256(content).hexdigest(),
                }
            )
    return entries


def overlay_from(entries: Sequence[Mapping[str, Any]], objects: bytes | None) -> Overlay:
    """Rebuild an overlay from a manifest's entries and the pack that travels with them.

    Args:
        entries: What `overlay_entries` gave.
        objects: The pack with the blobs; None when every entry is a deletion.

    Returns:
        The same overlay, every content checked against both of its hashes.

    Raises:
        HostileObject: An entry or a blob is not what was written.
    """
    from codevault_cache.gitobjects import object_id, read_pack

    # Entries name contents by SHA-1 whatever the repository uses: they need not know it.
    packed = read_pack(objects).values() if objects else ()
    blobs = {object_id("blob", content): content for kind, content in packed if kind == "blob"}
    files: dict[str, tuple[int, bytes] | None] = {}
    for entry in entries:
        text = entry.get("path")
        path = path_spelled(text) if isinstance(text, str) else ""
        if not path or path in files:
            raise HostileObject("An overlay entry has no path of its own.", ascii(text)[:200])
        if entry.get("deleted") is True:
            files[path] = None
            continue
        oid, mode = str(entry.get("oid")), str(entry.get("mode"))
        content = blobs.get(oid)
        if (
            content is None
            or mode not in ("100644", "100755", "120000")
            or hashlib.sha256(content).hexdigest() != entry.get("sha256")
        ):
            raise HostileObject(
                f"The overlay's {path!r} does not travel with the manifest.",
                f"Object {oid[:64]!r} is missing from the pack, or is other content.",
            )
        files[path] = (int(mode, 8), content)
    return Overlay(files)
