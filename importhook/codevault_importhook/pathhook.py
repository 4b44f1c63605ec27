"""Answers for the folders of mounted trees where code asks about folders rather than modules.

Without it the import system's own file finder would answer for them: it would run files without the
rewriting, and see files that are not part of the snapshot.
"""

from __future__ import annotations

from sys import _getframe
from typing import TYPE_CHECKING

from codevault_importhook import registry, specs, stringimports
from codevault_importhook.naming import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.machinery import ModuleSpec


def hook(location: str) -> TreeEntry:
    """An entry of `sys.path_hooks`.

    Raises:
        ImportError: `location` is no folder of a mounted tree.
    """
    for mount in registry.mounts():
        if mount.folder(location) is not None:
            return TreeEntry(location)
    raise ImportError("not a folder of a mounted snapshot", path=location)


class TreeEntry:
    """The finder that `sys.path_importer_cache` holds for one folder."""

    def __init__(self, location: str) -> None:
        self.path = location

    def find_spec(self, fullname: str, target: object = None) -> ModuleSpec | None:
        """The spec under the splint's name if code asks; nothing if the import system does.

        Raises:
            ImportError: Old code put a folder of its tree on `sys.path` and imports from there.
        """
        asking = _getframe(1)
        of_import_system = asking.f_code.co_filename.startswith("<frozen importlib")
        if fullname.startswith(PREFIX):
            named = registry.get(fullname)
            return (
                None
                if of_import_system or named is None
                else specs.find(named, fullname, [self.path])
            )
        decides = stringimports.deciding(asking)
        mounts = [m for m in registry.mounts() if m.folder(self.path) is not None]
        mount = decides if decides in mounts else next(iter(mounts), None)
        leaf = fullname.rpartition(".")[2]
        if mount is None or mount.find(leaf, [self.path]) is None:
            return None
        if not of_import_system:
            return specs.find(mount, mount.name_at(self.path, leaf), [self.path])
        if decides is None:
            return None  # the host does not import from trees
        folder = mount.folder(self.path) or "."
        raise ImportError(
            f"{mount.name} put its folder {folder!r} on sys.path and imports {fullname!r} from it, "
            f"which every version in this process would share; add {folder!r} to its roots",
            name=fullname,
            path=self.path,
        )

    def iter_modules(self, prefix: str = "") -> Iterator[tuple[str, bool]]:
        """For `pkgutil`: the modules and regular packages of the folder."""
        for mount in registry.mounts():
            if mount.folder(self.path) is not None:
                for leaf in sorted(mount.names(self.path)):
                    found = mount.find(leaf, [self.path])
                    if found is not None and found.path is not None:
                        yield prefix + leaf, found.is_package
                return

    def invalidate_caches(self) -> None:
        """Nothing: a mounted tree does not change."""
