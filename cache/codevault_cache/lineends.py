"""What git does to a file's bytes when it is added: line ends, and the user's own filters.

The rules are those of git's `convert.c` (`crlf_to_git`): attributes decide, then `core.autocrlf`; a
file that git only takes for text by itself stays as it is where it looks binary, or where the
index already has it with these line ends.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dulwich.repo import Repo

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
    from dulwich.objects import Blob

    attributes = repo.get_gitattributes()
    filters = repo.get_blob_normalizer()
    config = repo.get_config_stack()
    try:
        automatic = config.get((b"core",), b"autocrlf").lower() in (b"true", b"input", b"yes", b"1")
    except KeyError:
        automatic = False

    def normal(path: str, content: bytes) -> bytes:
        found = attributes.match_path(os.fsencode(path))
        if found.get(b"filter") not in (None, False, True):
            blob = Blob.from_string(content)
            content = filters.checkin_normalize(blob, os.fsencode(path)).as_raw_string()
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


def _keeps_line_ends(before: bytes) -> bool:
    return b"\r\n" in before and not looks_binary(before)
