"""Loads the compiled modules of a mount, and refuses one that took modules of the application.

The system runs a compiled module from its laid-out file, which is compared with the snapshot first.

Compiled code imports by names that nothing rewrites. Such an import is an error when it asks for a
name of the snapshot (`finder`); a module that is imported already is handed out by the interpreter
without a question, so what the compiled module holds is looked through once it is loaded.
"""

from __future__ import annotations

import sys
from importlib.machinery import ExtensionFileLoader
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from codevault_importhook.mount import Mount


class CompiledLoader(ExtensionFileLoader):
    """Loads one compiled module from its laid-out file, if that is what the snapshot has."""

    def __init__(self, mount: Mount, fullname: str, path: str) -> None:
        super().__init__(fullname, mount.source.location(path))
        self.mount = mount
        self.tree_path = path

    # Both run C code. Frames of this file on the stack tell the finder who imports.
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """As the base class.

        Raises:
            ImportError: The file is not what the snapshot has.
        """
        try:
            with open(self.path, "rb") as file:
                content: bytes | None = file.read()
        except OSError:
            content = None
        if content != self.mount.source.read(self.tree_path):
            raise ImportError(
                f"{self.path} is missing or was changed, and is not loaded; "
                "`codevault cache verify --repair` lays it out again",
                name=self.name,
                path=self.path,
            )
        return super().create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """As the base class, then looks for modules and objects of the application.

        Raises:
            ImportError: The module holds what the application has under a name of the snapshot.
        """
        super().exec_module(module)
        for value in list(vars(module).values()):
            name = _home(value)
            if name is not None and self.mount.claims(name):
                raise unfollowed(self.mount, name)


def loading(code: object) -> bool:
    """Whether a frame of this code runs the C code of a compiled module."""
    return code in (CompiledLoader.create_module.__code__, CompiledLoader.exec_module.__code__)


def unfollowed(mount: Mount, name: str) -> ImportError:
    """The refusal of an import of the snapshot's own `name` that cannot be followed."""
    return ImportError(
        f"{mount.name} imports its own {name!r} in a way that cannot be followed, such as "
        f"from C code, and would get the application's; if that will do, share it "
        f"(shared=[{name!r}])",
        name=name,
    )


def _home(value: object) -> str | None:
    """The module that `value` is or came from, as long as that still holds it."""
    name = getattr(value, "__name__", None)
    if isinstance(value, ModuleType):
        return name if sys.modules.get(str(name)) is value else None
    module = getattr(value, "__module__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    holder = sys.modules.get(module)
    return module if isinstance(holder, ModuleType) and vars(holder).get(name) is value else None
