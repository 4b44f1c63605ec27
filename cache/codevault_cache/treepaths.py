"""What a path of a tree may be before it becomes a file on this machine.

The rules follow gitoxide's `gix_validate::path::component` and Go's `module.CheckFilePath`, less
what they
over-block on Linux (`prn.sh`). They use the standard library only, because packs are opened on
every load.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from codevault_cache.errors import UnsafeName
from codevault_cache.limits import COMPONENT_BYTES, DEPTH, PATH_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

NATIVE = (".so", ".pyd", ".dylib", ".dll")
"""How the names of compiled libraries end, which the system loads from their laid-out files."""

# Nearly every path of nearly every repository: these need no closer look.
_PLAIN = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}/){0,12}[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}"
)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_DRIVE = re.compile(r"[A-Za-z]:|.*::")
_SHORT_GIT = re.compile(r"git~[0-9]+")
# Code points that HFS+ ignores in names: `.g<U+200C>it` is `.git` there.
_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")


def shown(path: str) -> str:
    """A path as text that is safe to print: control characters must not reach a terminal."""
    return ascii(path) if len(path) <= 200 else ascii(path[:200]) + "…"


def unnameable(path: str) -> bool:
    """Tell whether a file's name is no text, so that no import and no record can name it.

    Modules are not among them: one that were left out would be missed.
    """
    return _SURROGATE.search(path) is not None and not path.endswith(".py")


def spelled_out(path: str) -> str:
    """A name that is no text, with escapes in place of its strange bytes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_git_folder(component: str) -> bool:
    """Tell whether a name is `.git` to any file system: HFS+ and NTFS accept many spellings."""
    name = _IGNORED.sub("", component).split(":", 1)[0].rstrip(" .").casefold()
    return name == ".git" or _SHORT_GIT.fullmatch(name) is not None


def problem(path: str) -> str | None:
    """Say why a path is refused, or None for one that is fine."""
    if _PLAIN.fullmatch(path):
        return None
    if not path:
        return "an empty path"
    if _SURROGATE.search(path):
        return "not UTF-8"
    if len(path.encode()) > PATH_BYTES:
        return f"longer than {PATH_BYTES} bytes"
    if _CONTROL.search(path):
        return "a control character"
    if "\\" in path:
        return "a backslash"
    components = path.split("/")
    if len(components) > DEPTH:
        return f"deeper than {DEPTH} folders"
    for component in components:
        if component in ("", ".", ".."):
            return "an empty, '.' or '..' component"
        if len(component.encode()) > COMPONENT_BYTES:
            return f"a component longer than {COMPONENT_BYTES} bytes"
        if is_git_folder(component):
            return "a spelling of '.git'"
        if _DRIVE.match(component):
            return "a drive letter or an NTFS stream"
    return None


def check_path(path: str) -> str:
    """Pass a safe tree path through.

    Args:
        path: A tree path, with `/` between components.

    Returns:
        The same path.

    Raises:
        UnsafeName: It must not become a file on this machine.
    """
    why = problem(path)
    if why is not None:
        raise UnsafeName(
            f"The tree has a path that is refused: {shown(path)}.",
            f"It has {why}." if why.startswith("a") else f"It is {why}.",
            "Name roots that do not contain it: roots = [...] under [tool.codevault]",
        )
    return path


def check_paths(paths: Iterable[str]) -> None:
    """Check all paths of one snapshot, alone and against each other.

    Two paths that one file system would take for the same file clash: what is imported would
    depend on the machine.

    Args:
        paths: The tree paths of the files, each once.

    Raises:
        UnsafeName: A path is unsafe, or two of them clash.
    """
    seen: dict[str, str] = {}
    folders: set[str] = set()
    files = list(paths)
    for path in files:
        check_path(path)
        cut = path.rfind("/")
        while cut > 0 and path[:cut] not in folders:
            folders.add(path[:cut])
            cut = path.rfind("/", 0, cut)
    for path in files:
        if path in folders:
            raise UnsafeName(
                f"{shown(path)} is both a file and a folder.",
                "No file system holds both.",
                "Name roots that hold only one of them, or delete one by an overlay",
            )
    for path in (*files, *folders):
        folded = unicodedata.normalize("NFC", path).casefold()
        first = seen.setdefault(folded, path)
        if first != path:
            raise UnsafeName(
                f"Two paths of the tree clash: {shown(first)} and {shown(path)}.",
                "They differ only in case or in Unicode form, which some file systems ignore.",
                "Name roots that hold only one of them, or delete one by an overlay",
            )
