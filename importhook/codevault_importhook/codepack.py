"""Compiled code of a whole tree in one block of bytes, independent of the splint's name.

The block is derived data: it is made here from verified source, kept by the cache under the
tree's digest, and handed back only after its hash was checked, since `marshal` must never see
foreign bytes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import re
import sys
import warnings
from _imp import _fix_co_filename  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Final

from codevault_importhook.naming import WIDTH, placeholder
from codevault_importhook.rewrite import VERSION, Rules, compile_module

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType

    from codevault_importhook.source import ModuleSource

_Entry = tuple[int, int, bytes, tuple[int, ...]]
"""Offset and length of a block, the sha256 of its source, and where the splint's name goes."""

_MAGIC: Final = b"codevault-codepack-2 "


def tag(rules: Rules) -> str:
    """Names everything but the tree that decides the code: interpreter, rules and own names."""
    both = "\n".join([*sorted(rules.own), "", *sorted(rules.stand_ins)])
    names = hashlib.sha256(both.encode()).hexdigest()
    magic = importlib.util.MAGIC_NUMBER[:2].hex()
    cache_tag = sys.implementation.cache_tag or sys.implementation.name
    return f"{cache_tag}-{magic}-o{sys.flags.optimize}-r{VERSION}-{names[:12]}".lower()


def make(
    source: ModuleSource, paths: Iterable[str], rules: Rules, earlier: CodePack | None = None
) -> bytes:
    """Compiles the files at `paths`; one that does not compile is left to fail when imported.

    Args:
        source: The tree.
        paths: Its modules.
        rules: How they are rewritten.
        earlier: The pack of another tree, from which the code of unchanged files is taken.
    """
    index: dict[str, _Entry] = {}
    blocks: list[bytes] = []
    offset = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as from a .pyc: a SyntaxWarning is the author's affair
        for path in sorted(paths):
            text = source.read(path)
            digest = hashlib.sha256(text).digest()
            block = None if earlier is None else earlier.block(path, digest)
            name = placeholder(text)
            if block is None:
                try:
                    block = marshal.dumps(compile_module(text, path, rules, name))
                except (SyntaxError, ValueError, RecursionError, MemoryError):
                    continue
            places = [match.start() for match in re.finditer(name.encode(), block)]
            index[path] = (offset, len(block), digest, tuple(places))
            blocks.append(block)
            offset += len(block)
    head = marshal.dumps(index)
    return b"".join((_start(tag(rules)), len(head).to_bytes(8, "little"), head, *blocks))


def _start(tag: str) -> bytes:
    return _MAGIC + tag.encode() + b"\n"


class CodePack:
    """Read access to the bytes that `make` gave; they must have been verified before."""

    __slots__ = ("_base", "_blocks", "_index", "_served")

    def __init__(self, data: bytes, tag: str) -> None:
        expected = _start(tag)
        if not data.startswith(expected):
            raise ValueError(f"not a code pack for {tag}: it starts with {data[:80]!r}")
        start = len(expected) + 8
        size = int.from_bytes(data[len(expected) : start], "little")
        self._base = start + size
        self._index: dict[str, _Entry] = marshal.loads(data[start : self._base])  # noqa: S302
        self._blocks = memoryview(data)[self._base :]
        self._served: set[str] = set()

    @property
    def is_spent(self) -> bool:
        """Whether the code of every module was given out: nothing is likely to ask again."""
        return len(self._served) == len(self._index)

    def block(self, path: str, digest: bytes) -> bytes | None:
        """The marshalled code of the file at `path`, if it was made from this very source."""
        offset, length, made_from, _ = self._index.get(path, (0, 0, b"", ()))
        return bytes(self._blocks[offset : offset + length]) if made_from == digest else None

    def code(self, path: str, splint: str, filename: str) -> CodeType | None:
        """The module at `path`, importing from `splint` and naming `filename`; None if not held.

        Each call gives fresh code objects: torch.compile keeps its cache on them, and versions
        that shared code would run into its recompile limit.
        """
        entry = self._index.get(path)
        if entry is None:
            return None
        offset, length, _, places = entry
        block: memoryview | bytearray = self._blocks[offset : offset + length]
        if places:
            name = splint.encode()
            block = bytearray(block)
            for place in places:
                block[place : place + WIDTH] = name
        code: CodeType = marshal.loads(block)  # noqa: S302
        _fix_co_filename(code, filename)
        self._served.add(path)
        return code
