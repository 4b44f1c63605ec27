"""Which files of a tree belong to a snapshot: the one place that says so.

Every file under a root up to `limits.FILE_BYTES`, and every file that an `include` glob names, of
any size and wherever it lies; never `.git`, `__pycache__` and `*.pyc`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from codevault_cache.errors import RootsMissing, UnsafeName
from codevault_cache.treepaths import check_path, is_text, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_SKIPPED = ("__pycache__",)


def _text(value: str) -> str:
    """Pass text through: roots and globs stand in TOML and JSON, which hold nothing else.

    Raises:
        UnsafeName: It holds bytes that are no UTF-8.
    """
    if not is_text(value):
        raise UnsafeName(
            f"{shown(value)} is no UTF-8, and roots and include globs are.",
            "In a glob, * and ? stand for such bytes; a folder of modules needs another name.",
            'include = ["data/**"], or git mv of that folder',
        )
    return value


def root_of(value: str) -> str:
    """Write a root in its one form: no leading `./`, no trailing `/`, "." for the top.

    Raises:
        UnsafeName: It is no folder of a tree.
    """
    text = _text(value).strip()
    if text.startswith("/"):
        return check_path(text)
    while text.startswith("./"):
        text = text[2:]
    text = text.rstrip("/")
    return "." if text in ("", ".") else check_path(text)


def roots_of(values: Iterable[str]) -> tuple[str, ...]:
    """Roots in their one form, in order, each once."""
    roots = tuple(dict.fromkeys(root_of(value) for value in values))
    if not roots:
        raise RootsMissing("No root is named.", "roots is empty.", 'roots = ["."]')
    return roots


def glob_of(value: str) -> str:
    """Write an include glob in its one form; `data/` means everything below.

    Raises:
        UnsafeName: It can match no path of a tree.
    """
    text = _text(value).strip()
    while text.startswith("./"):
        text = text[2:]
    if not text or text.startswith("/") or "\\" in text or ".." in text.split("/"):
        raise UnsafeName(
            f"The include glob {value!a} matches no tree path.",
            "Globs are relative to the top of the tree, with / between components.",
            'include = ["configs/**/*.yaml"]',
        )
    glob = text + "**" if text.endswith("/") else text
    try:
        pattern_of(glob)
    except re.error as error:
        hint = 'include = ["configs/**/*.yaml"]'
        raise UnsafeName(f"The include glob {value!a} is malformed.", str(error), hint) from None
    return glob


@cache
def pattern_of(glob: str) -> re.Pattern[str]:
    """Compile a glob of tree paths: `*` and `?` stay inside a component, `**` crosses them."""
    out, i = [], 0
    while i < len(glob):
        if glob.startswith("**/", i):
            out.append("(?:.*/)?")
            i += 3
        elif glob.startswith("**", i):
            out.append(".*")
            i += 2
        elif glob[i] == "*":
            out.append("[^/]*")
            i += 1
        elif glob[i] == "?":
            out.append("[^/]")
            i += 1
        elif glob[i] == "[" and (end := glob.find("]", i + 2)) > 0:
            inner = glob[i + 1 : end]
            negated = inner[:1] in "!^"
            body = re.escape(inner[1:] if negated else inner).replace(r"\-", "-")
            out.append(f"[^/{body}]" if negated else f"(?!/)[{body}]")
            i = end + 1
        else:
            out.append(re.escape(glob[i]))
            i += 1
    return re.compile("".join(out), re.DOTALL)


@dataclass(frozen=True, slots=True)
class Selection:
    """Roots and include globs, ready to be asked about paths."""

    roots: tuple[str, ...]
    include: tuple[str, ...]
    named: Callable[[str], bool]

    def rooted(self, path: str) -> bool:
        """Tell whether a path is a root or lies below one."""
        return any(r == "." or path == r or path.startswith(r + "/") for r in self.roots)

    def takes(self, path: str) -> bool:
        """Tell whether a file belongs to the snapshot, its size apart."""
        if path.endswith(".pyc") or "__pycache__" in path.split("/"):
            return False
        return self.rooted(path) or self.named(path)

    def descends(self, folder: str) -> bool:
        """Tell whether a folder can hold a file that is taken; "" is the top."""
        if folder == "" or self.rooted(folder):
            return folder.rpartition("/")[2] not in _SKIPPED
        below = folder + "/"
        if any(root.startswith(below) for root in self.roots):
            return True
        parts = folder.split("/")
        return any(_leads(glob.split("/"), parts) for glob in self.include)


def _leads(glob: Sequence[str], folder: Sequence[str]) -> bool:
    """Tell whether a folder can hold a path that a glob matches."""
    for wanted, part in zip(glob, folder, strict=False):
        if "**" in wanted:
            return True
        if pattern_of(wanted).fullmatch(part) is None:
            return False
    return len(folder) < len(glob)


def selection_of(roots: Sequence[str], include: Sequence[str]) -> Selection:
    """Prepare roots and globs for many questions."""
    patterns = [pattern_of(glob) for glob in include]

    def named(path: str) -> bool:
        return any(pattern.fullmatch(path) for pattern in patterns)

    return Selection(tuple(roots), tuple(include), named)


@dataclass(frozen=True, slots=True)
class Stated:
    """What a repository says about itself under `[tool.codevault]`; None where it says nothing."""

    roots: tuple[str, ...] | None = None
    shared: tuple[str, ...] | None = None
    include: tuple[str, ...] | None = None
    contract: str | None = None
    migrations: str | None = None


def stated_in(pyproject: bytes | None) -> Stated:
    """Read `[tool.codevault]` of a pyproject.toml; a file that is no TOML states nothing."""
    if pyproject is None:
        return Stated()
    import tomllib

    try:
        table: Any = tomllib.loads(pyproject.decode("utf-8")).get("tool", {}).get("codevault", {})
    except (ValueError, AttributeError, RecursionError):
        return Stated()
    if not isinstance(table, dict):
        return Stated()

    def texts(key: str) -> tuple[str, ...] | None:
        value = table.get(key)
        if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
            return tuple(value)
        return () if value == [] and key != "roots" else None

    def one(key: str) -> str | None:
        value = table.get(key)
        return value if isinstance(value, str) else None

    roots, include, migrations = texts("roots"), texts("include"), one("migrations")
    return Stated(
        roots_of(roots) if roots else None,
        texts("shared"),
        tuple(glob_of(g) for g in include) if include is not None else None,
        one("contract"),
        root_of(migrations) if migrations else None,
    )


def default_roots(paths: Iterable[str]) -> tuple[str, ...]:
    """The roots of a tree that states none: `src` first where it is no package itself."""
    below = [path for path in paths if path.startswith("src/")]
    if "src/__init__.py" not in below and any(path.endswith(".py") for path in below):
        return ("src", ".")
    return (".",)


def check_roots(
    roots: Sequence[str], paths: Iterable[str], tops: Callable[[], Iterable[str]]
) -> None:
    """Refuse roots that hold no file: an import path with a hole is a mistake.

    Args:
        roots: The roots.
        paths: The selected paths.
        tops: Gives the folders at the top of the tree, for the message.

    Raises:
        RootsMissing: Naming all of them.
    """
    known = list(paths)
    gone = [r for r in roots if r != "." and not any(p.startswith(r + "/") for p in known)]
    if gone:
        folders = sorted(set(tops()))
        raise RootsMissing(
            f"The tree has no files in {', '.join(map(ascii, gone))}.",
            f"Its folders at the top are: {', '.join(map(ascii, folders[:20])) or 'none'}.",
            "roots=[...] naming folders of the tree, or [tool.codevault] roots in pyproject.toml",
        )
