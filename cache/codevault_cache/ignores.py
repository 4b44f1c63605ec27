"""Which untracked files of a work tree git ignores: one path at a time, as it walks down.

The library matches single patterns exactly; this module applies them in git's order: the last match
of the nearest file decides, and what lies in an ignored folder is ignored.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dulwich.repo import Repo

_log = logging.getLogger("codevault_cache")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of an ignore file.

    Attributes:
        takes_back: It begins with `!`.
        folders_only: It ends with `/`.
        matches: Tells whether a path, seen from the file's folder, is meant.
    """

    takes_back: bool
    folders_only: bool
    matches: re.Pattern[bytes]


def rules_in(path: str) -> list[Rule]:
    """The rules of an ignore file, the last first; none where there is no such file."""
    from dulwich.ignore import read_ignore_patterns, translate
    from dulwich.wildmatch import MalformedPattern

    rules: list[Rule] = []
    try:
        # git does not follow a link here either.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return rules
    with os.fdopen(fd, "rb") as file:
        for line in read_ignore_patterns(file):
            pattern = line.removeprefix(b"!")
            name = pattern.rstrip(b"/")
            if not name:
                continue
            try:
                matches = re.compile(translate(name))
            except (MalformedPattern, re.error):
                _log.debug("a pattern of %s is malformed", path)
                continue
            rules.append(Rule(pattern != line, pattern != name, matches))
    return rules[::-1]


def ignored_in(repo: Repo, top: str) -> Callable[[str, bool], bool]:
    """Make the function that tells whether a path is ignored, the folders above it apart.

    Args:
        repo: The repository.
        top: Its work tree.

    Returns:
        Tree path, and whether it is a folder, to whether it is ignored.
    """
    from dulwich.ignore import default_user_ignore_filter_path

    common = [
        os.path.join(repo.commondir(), "info", "exclude"),
        default_user_ignore_filter_path(repo.get_config_stack()),
    ]
    everywhere = [rule for path in common for rule in rules_in(os.path.expanduser(path))]
    known: dict[str, list[Rule]] = {}

    def ignored(path: str, is_folder: bool) -> bool:
        folder = path
        while folder:
            folder = folder.rpartition("/")[0]
            if folder not in known:
                known[folder] = rules_in(os.path.join(top, folder, ".gitignore"))
            seen = os.fsencode(path[len(folder) + 1 :] if folder else path)
            for rule in known[folder]:
                if (is_folder or not rule.folders_only) and rule.matches.match(seen):
                    return not rule.takes_back
        seen = os.fsencode(path)
        for rule in everywhere:
            if (is_folder or not rule.folders_only) and rule.matches.match(seen):
                return not rule.takes_back
        return False

    return ignored


def ignored_among(top: str, paths: Iterable[str]) -> list[str]:
    """Which files of a work tree git ignores, of those that it does not track.

    Args:
        top: The work tree.
        paths: Tree paths.
    """
    from dulwich.repo import Repo

    with Repo(top) as repo:
        ignored = ignored_in(repo, top)
        tracked = {os.fsdecode(path) for path in repo.open_index()}

    def is_hidden(path: str) -> bool:
        folders = (path[:i] for i, char in enumerate(path) if char == "/")
        return any(ignored(folder, True) for folder in folders) or ignored(path, False)

    return sorted(path for path in paths if path not in tracked and is_hidden(path))
