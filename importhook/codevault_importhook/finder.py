"""The finder for `_splint_*` names: it answers from mounted snapshots and knows nothing else."""

from __future__ import annotations

import sys
from sys import _getframe
from typing import TYPE_CHECKING

from codevault_importhook import extensions, registry, specs, stringimports
from codevault_importhook.missing import missing
from codevault_importhook.naming import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import FrameType, ModuleType

    from codevault_importhook.mount import Mount


class SplintFinder:
    """Stands first in `sys.meta_path`, because `__path__` of isolated packages names real folders.

    A finder behind it would compile those files without the rewriting.
    """

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of an isolated module; None for every name that is not one.

        Raises:
            ModuleNotFoundError: An import of a name that the snapshot does not have.
            ImportError: Old code imports an own name in a way that cannot be followed.
        """
        if not fullname.startswith(PREFIX):
            if fullname.partition(".")[0] in registry.own_names:
                _refuse_unseen()
            if fullname in stringimports.waiting:
                return stringimports.spec_with_patch(fullname, path)
            return None
        mount = registry.get(fullname)
        if mount is None:
            return None
        spec = specs.find(mount, fullname, path)
        if spec is None:
            spec = _of_own_finders(mount, fullname, path)
        if spec is None:
            callers = {frame.f_code.co_name for frame in _import_system(_getframe(1))}
            if "_find_and_load_unlocked" in callers:  # else it is a question, answered with None
                raise missing(mount, fullname, from_list="_handle_fromlist" in callers)
        return spec


def _of_own_finders(mount: Mount, fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """What the finders say that the snapshot's own code put into `sys.meta_path` (`six.moves`)."""
    for finder in list(sys.meta_path):
        made_in = getattr(finder, "__module__", None)
        if isinstance(made_in, str) and made_in.startswith(f"{mount.name}."):
            spec: ModuleSpec | None = finder.find_spec(fullname, path)
            if spec is not None:
                return spec
    return None


def _refuse_unseen() -> None:
    """Refuses an own name that old code imports under its original spelling.

    Nothing that was rewritten asks so: C code does, or `map(eval, texts)`. A module that the
    application has imported before is taken from `sys.modules` without a question.
    """
    frames = list(_import_system(_getframe(2)))
    caller = frames[-1].f_back if frames else None
    if caller is None:
        return
    if extensions.loading(caller.f_code):
        mount = caller.f_locals["self"].mount
        while frames and frames[-1].f_code.co_name != "_find_and_load":
            frames.pop()
    else:
        module = caller.f_globals.get("__name__")
        mount = registry.get(module) if isinstance(module, str) else None
    if mount is None or not frames or frames[-1].f_code.co_name != "_find_and_load":
        return
    name: str = frames[-1].f_locals["name"]
    if mount.claims(name):
        raise extensions.unfollowed(mount, name)


def _import_system(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames of the import system that stand on the stack above `frame`, without a gap."""
    while frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        yield frame
        frame = frame.f_back
