"""The attributes that git gives the files of a work tree: the machine's, the user's, its own.

The library reads those of the tree and of the repository. Those of the machine and of the user come
before them; work trees that are linked share what lies in their repository's `info`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dulwich.attrs import GitAttributes, parse_gitattributes_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dulwich.attrs import AttributeValue
    from dulwich.repo import Repo

_OF_THE_MACHINE = "/etc/gitattributes"


class Attributes(GitAttributes):
    """Attributes from several places; of what two places say, the later one's counts."""

    def __init__(self, layers: Sequence[GitAttributes]) -> None:
        super().__init__()
        self._layers = layers

    def match_path(self, path: bytes) -> dict[bytes, AttributeValue]:
        """The attributes of a tree path."""
        found: dict[bytes, AttributeValue] = {}
        for layer in self._layers:
            found |= layer.match_path(path)
        return found


def attributes_of(repo: Repo) -> Attributes:
    """The attributes of a repository's work tree, as `git add` sees them."""
    before = [] if os.environ.get("GIT_ATTR_NOSYSTEM") else [_OF_THE_MACHINE]
    shared = os.path.join(repo.commondir(), "info", "attributes")
    return Attributes(
        [
            *map(_in, (*before, _of_the_user(repo))),
            repo.get_gitattributes(),
            _in(shared),
        ]
    )


def _of_the_user(repo: Repo) -> str:
    try:
        return repo.get_config_stack().get((b"core",), b"attributesFile").decode()
    except KeyError:
        settings = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
        return os.path.join(settings, "git", "attributes")


def _in(path: str) -> GitAttributes:
    try:
        return GitAttributes(parse_gitattributes_file(os.path.expanduser(path)))
    except OSError:  # there is none
        return GitAttributes()
