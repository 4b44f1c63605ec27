"""Loads the modules of a mounted snapshot: runs verified code, and answers what debuggers ask."""

from __future__ import annotations

import builtins
import importlib.util
import sys
from importlib._abc import Loader
from typing import TYPE_CHECKING

from codevault_importhook import stand_ins
from codevault_importhook.naming import PREFIX
from codevault_importhook.rewrite import STAND_INS

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from importlib.readers import FileReader
    from types import CodeType, ModuleType

    from codevault_importhook.mount import Mount


class SplintLoader(Loader):
    """The loader of all source modules of one mount, and of the splint itself.

    The bytes that run come from the verified tree; the laid-out file of the same content is what
    `__file__` names, for data files, debuggers and people. `loader_state` of a spec is the path in
    the tree, unless a `LazyLoader` keeps its own state there until the module is used.
    """

    def __init__(self, mount: Mount) -> None:
        self._mount = mount

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """None: the import system makes a plain module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Runs the module's code in it; the splint itself has none.

        Raises:
            ImportError: Its spec names no file of this mount.
        """
        path = self._in_tree(module.__spec__)
        if path is not None:
            module.__dict__["__builtins__"] = builtins  # see cimports
            try:
                exec(self._mount.code(path), module.__dict__)  # noqa: S102
            except ModuleNotFoundError as error:
                self._note(error)
                raise
        elif module.__name__ == self._mount.name:
            inner = sys.modules[f"{module.__name__}.{STAND_INS}"] = stand_ins.module(self._mount)
            setattr(module, STAND_INS, inner)
        else:
            raise self._unserved(module.__name__)

    def get_code(self, fullname: str) -> CodeType | None:
        """The module's code; None for the splint itself.

        Raises:
            ImportError: `fullname` is no source module of this mount.
            SyntaxError: The module does not compile.
        """
        path = self._path(fullname)
        return None if path is None else self._mount.code(path)

    def get_source(self, fullname: str) -> str | None:
        """The module's text, from the verified tree."""
        path = self._path(fullname)
        if path is None:
            return None
        return importlib.util.decode_source(self._mount.source.read(path))

    def get_filename(self, fullname: str) -> str:
        """The laid-out file."""
        path = self._path(fullname)
        if path is None:
            raise ImportError(f"{fullname} has no file", name=fullname)
        return self._mount.source.location(path)

    def is_package(self, fullname: str) -> bool:
        """Whether `fullname` is a regular package."""
        path = self._path(fullname)
        return path is None or path.rpartition("/")[2] == "__init__.py"

    def get_data(self, path: str) -> bytes:
        """The verified bytes of a laid-out file, for `pkgutil.get_data`.

        Raises:
            OSError: The path is not in this snapshot.
        """
        inner = self._mount.inner(path)
        if inner is None:
            raise FileNotFoundError(f"{path} is not in {self._mount.name}")
        return self._mount.source.read(inner)

    def get_resource_reader(self, fullname: str) -> FileReader | None:
        """Real files, for `importlib.resources`."""
        if self._path(fullname) is None or not self.is_package(fullname):
            return None
        from importlib.readers import FileReader

        return FileReader(_Located(self.get_filename(fullname)))  # type: ignore[arg-type]

    def _path(self, fullname: str) -> str | None:
        """The tree path behind a name; None for the splint itself."""
        if fullname == self._mount.name:
            return None
        fullname = self._mount.inside(fullname)
        spec = getattr(sys.modules.get(fullname), "__spec__", None)
        if spec is None or spec.loader is not self:
            spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is not self:
            raise self._unserved(fullname)
        return self._in_tree(spec)

    def _note(self, error: ModuleNotFoundError) -> None:
        """Says of a name that is neither own nor installed what may help."""
        mount, top = self._mount, (error.name or "").partition(".")[0]
        if top and not mount.rules.owns(top) and not top.startswith(PREFIX):
            note = (
                f"{top!r} is in none of the roots of {mount.name} ({mount.shown_roots}): "
                "install it, or, if the repository has it, add the folder that holds it to roots"
            )
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)

    def _unserved(self, fullname: str) -> ImportError:
        return ImportError(f"{self._mount.name} cannot serve {fullname}", name=fullname)

    def _in_tree(self, spec: ModuleSpec | None) -> str | None:
        """The tree path that a spec of this loader names."""
        if spec is None:
            return None
        path = spec.loader_state
        if isinstance(path, str):
            return path
        return None if spec.origin is None else self._mount.inner(spec.origin)


class _Located:
    """What a FileReader reads of a loader."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path
