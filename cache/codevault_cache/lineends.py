"""What git does to a file's bytes when it is added: filters, encodings, line ends, `$Id$`.

The rules are those of git's `convert.c`, in its order. Of line ends (`crlf_to_git`) attributes
decide, then `core.autocrlf`; a file that git only takes for text by itself stays as it is where it
looks binary, or where the index already has it with these line ends.
"""

from __future__ import annotations

import codecs
import os
import re
from typing import TYPE_CHECKING

from codevault_cache.errors import EncodingRefused
from codevault_cache.treepaths import shown, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dulwich.repo import Repo

# Encodings by git's names, in Python's words, and whether a byte order mark must begin the file.
_ENCODINGS = {
    "UTF-16": ("utf-16", True),
    "UTF-16LE-BOM": ("utf-16", True),
    "UTF-16BE-BOM": ("utf-16", True),
    "UTF-16LE": ("utf-16-le", False),
    "UTF-16BE": ("utf-16-be", False),
    "UTF-32": ("utf-32", True),
    "UTF-32LE": ("utf-32-le", False),
    "UTF-32BE": ("utf-32-be", False),
    "ISO-8859-1": ("iso-8859-1", None),
}
_MARKS = {
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
}
_ID = re.compile(rb"\$Id:[^$\n]*\$")

_STRANGE = bytes(c for c in range(32) if c not in b"\b\t\x1b\f") + b"\x7f"


def looks_binary(content: bytes) -> bool:
    """Tell whether git would take a file's content for binary."""
    rest = content.replace(b"\r\n", b"")
    if b"\0" in rest or b"\r" in rest:
        return True
    rest = rest.replace(b"\n", b"")
    strange = len(rest) - len(rest.translate(None, _STRANGE)) - rest.endswith(b"\x1a")
    return (len(rest) - strange) >> 7 < strange


def normaliser(
    repo: Repo, recorded: Callable[[str], bytes | None]
) -> Callable[[str, bytes], bytes]:
    """Make the function that does it.

    Args:
        repo: The repository: its attributes, its configuration and the user's.
        recorded: Gives the content that the index has of a path, or None.

    Returns:
        Path and content of a file in the work tree to the content of its blob.
    """
    from dulwich.filters import FilterBlobNormalizer, FilterError
    from dulwich.objects import Blob

    from codevault_cache.gitattributes import attributes_of

    attributes = attributes_of(repo)
    config = repo.get_config_stack()
    filters = FilterBlobNormalizer(config, attributes, repo=repo)
    try:
        automatic = config.get((b"core",), b"autocrlf").lower() in (b"true", b"input", b"yes", b"1")
    except KeyError:
        automatic = False

    def filtered(path: str, content: bytes, name: str) -> bytes:
        blob = Blob.from_string(content)
        try:
            return filters.checkin_normalize(blob, os.fsencode(path)).as_raw_string()
        except (FilterError, OSError) as error:
            # As in git: one that is not required, and is not installed here, changes nothing.
            if not config.get_boolean((b"filter", name.encode()), b"required", False):
                return content
            raise EncodingRefused(
                f"The uncommitted file {shown(path)} cannot be kept as git would keep it.",
                f"The filter {name!a}, which is required, fails: {error}",
                f"git add {typed(path)} && git commit",
            ) from None

    def normal(path: str, content: bytes) -> bytes:
        found = attributes.match_path(os.fsencode(path))
        driver = found.get(b"filter")
        if isinstance(driver, bytes):
            content = filtered(path, content, driver.decode("utf-8", "replace"))
        encoding = found.get(b"working-tree-encoding")
        if content and isinstance(encoding, bytes):
            content = as_utf8(path, content, encoding.decode("ascii", "replace"))
        content = ends(path, content, found)
        return _ID.sub(b"$Id$", content) if found.get(b"ident") is True else content

    def ends(path: str, content: bytes, found: Mapping[bytes, bytes | bool | None]) -> bytes:
        if b"\r\n" not in content:
            return content
        text = found.get(b"text", found.get(b"crlf"))
        if found.get(b"binary") is True:
            text = False
        if text is None and isinstance(found.get(b"eol"), bytes):
            text = True
        if text is False or (text is None and not automatic):
            return content
        if text is not True and text != b"input":
            before = recorded(path)
            if looks_binary(content) or (before is not None and _keeps_line_ends(before)):
                return content
        return content.replace(b"\r\n", b"\n")

    return normal


def as_utf8(path: str, content: bytes, encoding: str) -> bytes:
    """What git keeps of a file in another encoding.

    Args:
        path: Its path, for the message.
        content: Its bytes in the work tree.
        encoding: What `working-tree-encoding` says.

    Raises:
        EncodingRefused: The bytes are not in that encoding, or nothing here knows it.
    """
    name = encoding.upper()
    if name in ("UTF-8", "UTF8"):
        return content
    why = "This encoding is not known here."
    if name in _ENCODINGS:
        codec, marked = _ENCODINGS[name]
        begins = content.startswith(_MARKS.get(codec[:6], ()))
        why = "Its bytes are not in this encoding."
        if marked is None or marked == begins:
            try:
                return content.decode(codec).encode()
            except UnicodeError:
                pass
    raise EncodingRefused(
        f"The uncommitted file {shown(path)} cannot be kept as git would keep it.",
        f"The attribute working-tree-encoding of it says {encoding!a}. {why}",
        f"git add {typed(path)} && git commit",
    )


def _keeps_line_ends(before: bytes) -> bool:
    return b"\r\n" in before and not looks_binary(before)
