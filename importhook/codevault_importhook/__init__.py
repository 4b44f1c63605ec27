"""An import system over a tree of files: its modules stand in `sys.modules` under a splint's name.

    mount(name, source, roots=[...], shared=[...])  makes a tree importable
    Mount                                           tells own, shared and third-party names apart
    CodePack                                        the compiled code of a tree
    resolving(mount)                                strings name its modules
    deciding(frame)                                 the mount that a call from a frame is made for
    stand_in(name, make)                            what old code gets for a name of a library
    with_original_names(data, splint)               a pickle as the old code alone would write it
    when_loaded(name, patch)                        changes a library's module once it is loaded
    unload(mount)                                   takes its modules out again

Read in this order: naming, source, search, scopes, moduletexts, processlock, rewrite, codepack,
mount, specs, missing, finder, loader, pickles, execcode, stand_ins, modules_view, stringimports,
pathhook, install, unload.
"""

from codevault_importhook.codepack import CodePack
from codevault_importhook.install import mount, prepare
from codevault_importhook.mount import Mount
from codevault_importhook.naming import is_splint, make, split, strip
from codevault_importhook.pickles import with_original_names
from codevault_importhook.source import ModuleSource
from codevault_importhook.stand_ins import stand_in
from codevault_importhook.stringimports import deciding, resolving, when_loaded
from codevault_importhook.unload import unload

__all__ = [
    "CodePack",
    "ModuleSource",
    "Mount",
    "deciding",
    "is_splint",
    "make",
    "mount",
    "prepare",
    "resolving",
    "split",
    "stand_in",
    "strip",
    "unload",
    "when_loaded",
    "with_original_names",
]
