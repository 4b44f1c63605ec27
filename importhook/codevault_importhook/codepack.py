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
from codevault_importhook.processlock import changing
from codevault_importhook.rewrite import VERSION, Rules, compile_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType

    from codevault_importhook.source import ModuleSource

_Entry = tuple[int, int, bytes, tuple[int, ...]]
"""Offset and length of a block, the sha256 of its source, and where the splint's name goes.

`~offset` stands for a block of the pack that this one rests on.
"""

_MAGIC: Final = b"codevault-codepack-3 "

_THIN: Final = 4
"""A pack rests on another one if it would hold at most this part of its code itself."""


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

    Where nearly all code is in the earlier pack, or in the one that it rests on, the new pack holds
    the rest, and rests on that one: a further version costs about what changed.

    Args:
        source: The tree.
        paths: Its modules.
        rules: How they are rewritten.
        earlier: The pack of another tree, from which the code of unchanged files is taken.
    """
    base = None if earlier is None else earlier.base or earlier
    index: dict[str, _Entry] = {}
    blocks: dict[str, bytes] = {}
    for path in sorted(paths):
        text = source.read(path)
        digest = hashlib.sha256(text).digest()
        same = None if base is None else base.entry(path, digest)
        if same is not None and base is not None:
            index[path], blocks[path] = (~same[0], *same[1:]), base.block(same)
            continue
        again = None if earlier is None else earlier.entry(path, digest)
        name = placeholder(text)
        if again is not None and earlier is not None:
            block = earlier.block(again)
        else:
            try:
                block = marshal.dumps(compiled_quietly(text, path, rules, name))
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
        places = tuple(match.start() for match in re.finditer(name.encode(), block))
        index[path], blocks[path] = (0, len(block), digest, places), block
    size = sum(map(len, blocks.values()))
    rests = sum(len(blocks[path]) for path, entry in index.items() if entry[0] < 0)
    if base is None or (size - rests) * _THIN > size:
        base = None
    offset, own = 0, []
    for path, entry in index.items():
        if base is None or entry[0] >= 0:
            index[path] = (offset, *entry[1:])
            own.append(blocks[path])
            offset += entry[1]
    body = b"".join(own)
    below = None if base is None else (base.tree, base.name)
    # Version 2 writes no back references, which depend on who else holds an object.
    head = marshal.dumps((source.digest, hashlib.sha256(body).digest(), below, index), 2)
    return b"".join((_start(tag(rules)), len(head).to_bytes(8, "little"), head, body))


def compiled_quietly(text: bytes, path: str, rules: Rules, name: str) -> CodeType:
    """As `compile_module`, without warnings, as from a `.pyc`: they are the author's affair."""
    with changing(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compile_module(text, path, rules, name)


def _start(tag: str) -> bytes:
    return _MAGIC + tag.encode() + b"\n"


def _alone(tree: str) -> None:
    """What gives no pack to rest on."""


class CodePack:
    """Read access to the bytes that `make` gave; they must have been verified before.

    Attributes:
        tree: The digest of the tree that it was made of.
        name: A hash of its own code, which no other pack has.
        base: The pack that the rest of its code is in, or None.
    """

    __slots__ = ("_blocks", "_index", "_served", "base", "name", "tree")

    def __init__(
        self, data: bytes, tag: str, find: Callable[[str], CodePack | None] = _alone
    ) -> None:
        """Opens a pack.

        Args:
            data: What `make` gave.
            tag: What it must have been made for.
            find: Gives the pack of another tree, by that tree's digest.

        Raises:
            ValueError: It is for another tag, or what it rests on is not to be had.
        """
        expected = _start(tag)
        if not data.startswith(expected):
            raise ValueError(f"not a code pack for {tag}: it starts with {data[:80]!r}")
        start = len(expected) + 8
        end = start + int.from_bytes(data[len(expected) : start], "little")
        self._index: dict[str, _Entry]
        view = memoryview(data)
        self.tree, self.name, below, self._index = marshal.loads(view[start:end])  # noqa: S302
        self._blocks = view[end:]
        self.base: CodePack | None = None
        if below is not None:
            self.base = find(below[0])
            if self.base is None or (self.base.tree, self.base.name) != below:
                raise ValueError(f"the code pack rests on one of {below[0][:12]}…, which is gone")
        self._served: set[str] = set()

    @property
    def is_spent(self) -> bool:
        """Whether the code of every module was given out: nothing is likely to ask again."""
        return len(self._served) == len(self._index)

    def entry(self, path: str, digest: bytes) -> _Entry | None:
        """Where the code of the file at `path` is, if it was made from this very source."""
        entry = self._index.get(path)
        return entry if entry is not None and entry[2] == digest else None

    def block(self, entry: _Entry) -> bytes:
        """The marshalled code of an entry."""
        return bytes(self._view(entry))

    def _view(self, entry: _Entry) -> memoryview:
        offset, length = entry[:2]
        if offset >= 0 or self.base is None:
            return self._blocks[offset : offset + length]
        return self.base._blocks[~offset : ~offset + length]  # noqa: SLF001

    def code(self, path: str, splint: str, filename: str) -> CodeType | None:
        """The module at `path`, importing from `splint` and naming `filename`; None if not held.

        Each call gives fresh code objects: torch.compile keeps its cache on them, and versions
        that shared code would run into its recompile limit.
        """
        entry = self._index.get(path)
        if entry is None:
            return None
        places = entry[3]
        block: memoryview | bytearray = self._view(entry)
        if places:
            name = bytearray(splint, "ascii")  # of any other kind, each place would take a copy
            block = bytearray(block)
            for place in places:
                block[place : place + WIDTH] = name
        code: CodeType = marshal.loads(block)  # noqa: S302
        _fix_co_filename(code, filename)
        self._served.add(path)
        return code
