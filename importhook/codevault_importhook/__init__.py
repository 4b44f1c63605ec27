"""An import system over a tree of files: its modules stand in `sys.modules` under a splint's name.

    mount(name, source, roots=[...], shared=[...])  makes a tree importable
    Mount                                           tells own, shared and third-party names apart
    resolving(mount)                                strings name its modules
    unload(mount)                                   takes its modules out again

Read in this order: naming, source, search, rewrite, codepack, mount, finder, loader, dynamic.
"""

from codevault_importhook.dynamic import resolving
from codevault_importhook.install import mount
from codevault_importhook.mount import Mount
from codevault_importhook.naming import is_splint, make, split, strip
from codevault_importhook.source import ModuleSource
from codevault_importhook.unload import unload

__all__ = [
    "ModuleSource",
    "Mount",
    "is_splint",
    "make",
    "mount",
    "resolving",
    "split",
    "strip",
    "unload",
]
