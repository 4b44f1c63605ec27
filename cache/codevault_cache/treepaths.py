"""What a path of a tree may be before it becomes a file on this machine.

The rules follow gitoxide's `gix_validate::path::component` and Go's `module.CheckFilePath`, less
what they over-block on Linux (`prn.sh`). They use the standard library only, because packs are
opened on every load.
"""

from __future__ import annotations

import re
import sys
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
# Compiled when first used: most trees have no such names.
_SPELLED = r"\\x([89a-f][0-9a-f])"
# ASCII in more bytes than it takes, as surrogates: what UTF-8 forbids.
_OVERLONG = (
    "(?:[\udcc0\udcc1]|(?:\udce0|\udcf0\udc80|\udcf8\udc80{2}|\udcfc\udc80{3})[\udc80\udc81])"
    "[\udc80-\udcbf]"
)
_DRIVE = re.compile(r"[A-Za-z]:|.*::")
_SHORT_GIT = re.compile(r"git~[0-9]+")
# Code points that HFS+ ignores in names: `.g<U+200C>it` is `.git` there.
_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")


def path_bytes(path: str) -> bytes:
    """What a path is to git: its bytes. Listings are sorted and hashed by them.

    A byte that is no UTF-8 stands in a path as one lone surrogate, as Python has it for names of
    files; bytes of UTF-8 are the characters that they mean.
    """
    return path.encode("utf-8", "surrogateescape")


def shown(path: str) -> str:
    """A path as text that is safe to print: control characters must not reach a terminal."""
    return ascii(path) if len(path) <= 200 else ascii(path[:200]) + "…"


def typed(path: str) -> str:
    """A path as a word of a shell's command."""
    if path.isprintable():
        import shlex

        return shlex.quote(path)
    kept = (chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\{b:03o}" for b in path_bytes(path))
    return f"$'{''.join(kept)}'"


def spelled_out(path: str) -> str:
    r"""A path as text for records: `\xff` in place of a byte that is no UTF-8.

    No path has a backslash of its own, so that no two paths are spelled alike.
    """
    return path_bytes(path).decode("utf-8", "backslashreplace")


def path_spelled(text: str) -> str:
    """The path that a record spells.

    Raises:
        UnsafeName: No path is spelled so.
    """
    path = re.sub(_SPELLED, lambda found: chr(0xDC00 + int(found[1], 16)), text)
    if _bytes_of(path) is None or spelled_out(path) != text:
        raise UnsafeName(
            f"A record has {shown(text)} for a path.",
            "No path is written like that.",
            "save the checkpoint again, or restore it from a copy",
        )
    return path


def is_text(path: str) -> bool:
    """Tell whether a path is UTF-8, so that JSON and TOML can name it as it is."""
    return _SURROGATE.search(path) is None


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
    raw = _bytes_of(path)
    if raw is None:
        return "neither text nor what the bytes of a name are read as"
    if len(raw) > PATH_BYTES:
        return f"longer than {PATH_BYTES} bytes"
    if _CONTROL.search(path):
        return "a control character"
    if "\\" in path:
        return "a backslash"
    components = path.split("/")
    if len(components) > DEPTH:
        return f"deeper than {DEPTH} folders"
    for component in components:
        if len(path_bytes(component)) > COMPONENT_BYTES:
            return f"a component longer than {COMPONENT_BYTES} bytes"
        why = _wrong(component) or (None if is_text(component) else _misread(component))
        if why is not None:
            return why
    return None


def _bytes_of(path: str) -> bytes | None:
    """A path's bytes; None where they are read as another path, or there are none.

    Surrogates that stand for the bytes of a letter would be that letter on the disk.
    """
    try:
        raw = path_bytes(path)
    except UnicodeEncodeError:
        return None
    return raw if raw.decode("utf-8", "surrogateescape") == path else None


def _wrong(component: str) -> str | None:
    if component in ("", ".", ".."):
        return "an empty, '.' or '..' component"
    if is_git_folder(component):
        return "a spelling of '.git'"
    if _DRIVE.match(component):
        return "a drive letter or an NTFS stream"
    return None


def _shortened(found: re.Match[str]) -> str:
    """The ASCII character that an overlong form spells: its last seven bits."""
    return chr((ord(found[0][-2]) & 1) << 6 | ord(found[0][-1]) & 63)


def _misread(component: str) -> str | None:
    """Say what lax programs read in bytes that are no UTF-8, where that is no name.

    Some leave such bytes out, and some take `C0 AE` for the `.` that it would be, were it allowed.
    """
    short = re.sub(_OVERLONG, _shortened, component)
    for text in (_SURROGATE.sub("", component), _SURROGATE.sub("", short)):
        if text and (_wrong(text) or _CONTROL.search(text) or "/" in text or "\\" in text):
            return f"a name that can be read as {shown(text)}"
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
    if not path.isascii() and sys.getfilesystemencoding() != "utf-8":
        raise UnsafeName(
            f"{shown(path)} has other bytes here than in git.",
            f"This Python takes names of files for {sys.getfilesystemencoding()}, not UTF-8.",
            "PYTHONUTF8=1",
        )
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
