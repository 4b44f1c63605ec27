"""Tells where code comes from: the standard library, third-party packages, or the application."""

from __future__ import annotations

import importlib.util
import os
import site
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import FrameType

_HERE: Final = os.path.dirname(os.path.abspath(__file__))
_PACKAGES: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
"""Folders of libraries wherever they are: of an environment below this one, or on `PYTHONPATH`."""


@cache
def library_folders() -> tuple[str, ...]:
    """Folders whose code is not the application's: site-packages, the standard library, ours.

    They are spelled as the interpreter spells them, which is how nearly all code names its files.
    """
    # not sysconfig's, which reads all that Python was built with: a millisecond of the first load
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folders = [os.path.dirname(os.__file__)]
    folders += [os.path.join(sys.base_exec_prefix, sys.platlibdir, version)]
    folders += site.getsitepackages() if hasattr(site, "getsitepackages") else []
    folders += [site.getusersitepackages()] if hasattr(site, "getusersitepackages") else []
    folders += [_HERE, os.path.join(os.path.dirname(os.path.dirname(_HERE)), "codevault")]
    return tuple(sorted({os.path.join(f, "") for f in folders}))


@cache
def _behind_links() -> tuple[str, ...]:
    """The same folders where links lead: only asked of code that is in none of them as spelled."""
    return tuple(sorted({os.path.join(os.path.realpath(f), "") for f in library_folders()}))


@cache
def is_library_file(filename: str) -> bool:
    """Whether a code object of this file name belongs to a library rather than the application."""
    if filename.startswith("<frozen"):
        return True
    if filename.startswith(library_folders()) or any(p in filename for p in _PACKAGES):
        return True
    return filename.startswith(_behind_links())


def is_library_frame(frame: FrameType) -> bool:
    """Whether a frame runs library code; generated code (`<string>`) counts by its globals."""
    filename = frame.f_code.co_filename
    if filename.startswith("<") and not filename.startswith("<frozen"):
        filename = frame.f_globals.get("__file__") or filename
    return is_library_file(filename)


def is_third_party(top: str, *, regular_only: bool) -> bool:
    """Whether the host has `top` as a library's package.

    Args:
        top: A top-level name.
        regular_only: Whether only a regular package or module counts, not a namespace package.
    """
    if top in sys.builtin_module_names:
        return True
    try:
        spec: Any = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # a module without __spec__, such as a script's __main__
        return False
    if spec is None:
        return False
    if spec.origin in ("built-in", "frozen"):
        return True
    if spec.has_location and spec.origin is not None:
        return is_library_file(spec.origin)
    if regular_only or spec.submodule_search_locations is None:
        return False
    return all(is_library_file(os.path.join(f, "")) for f in spec.submodule_search_locations)
