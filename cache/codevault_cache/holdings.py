"""What one folder of the cache holds, digest by digest: read from its names, following no link."""

from __future__ import annotations

import contextlib
import os
import stat
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codevault_cache import paths
from codevault_cache.errors import CorruptEntry
from codevault_cache.snapshot import DIGEST, NAME, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Holding:
    """Everything that one folder of the cache keeps for one digest.

    Attributes:
        digest: The digest.
        snapshots: What its records say, by name.
        records: The record files: of names and of requests.
        tree: The laid-out files, or None.
        code: The code packs.
        pack: The source pack, or None.
        used: When it was last used or written, in seconds since the epoch.
    """

    digest: str
    snapshots: tuple[Snapshot, ...]
    records: tuple[str, ...]
    tree: str | None
    code: tuple[str, ...]
    pack: str | None
    used: float

    @property
    def objects(self) -> tuple[str, ...]:
        """All but the records, in the order in which they are removed: the pack comes last."""
        return tuple(path for path in (self.tree, *self.code, self.pack) if path is not None)


def names_in(folder: str) -> list[str]:
    """The names in a folder, sorted; none where there is no folder, or a link."""
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            return []
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _files(top: str, depth: int, suffix: str) -> Iterator[tuple[str, str]]:
    """Name (without its suffix) and path of the files so many folders below `top`."""
    for name in names_in(top):
        path = os.path.join(top, name)
        if depth:
            yield from _files(path, depth - 1, suffix)
        elif name.endswith(suffix):
            yield name.removesuffix(suffix), path


def packs(root: str) -> dict[str, str]:
    """The source packs of a folder, by what their names say."""
    return dict(_files(os.path.join(root, paths.VERSION, "src"), 1, ".cvs"))


def code_packs(root: str) -> Iterator[tuple[str, str]]:
    """Digest and path of each code pack."""
    return _files(os.path.join(root, paths.VERSION, "code"), 2, ".cvc")


def records(root: str, kind: str) -> Iterator[tuple[str, str]]:
    """Name and path of the records of a kind, "snapshots" or "requests"."""
    return _files(os.path.join(root, paths.VERSION, kind), 0, ".json")


def trees(root: str) -> Iterator[tuple[str, str]]:
    """Digest and path of the laid-out trees."""
    return _files(os.path.join(root, paths.VERSION, "trees"), 0, "")


def read_record(path: str) -> Snapshot | None:
    """What a record says, a request's included; None for one that is damaged or gone."""
    try:
        with open(path, "rb") as file:
            data = file.read()
        return Snapshot.from_json(data.rpartition(b"\n")[2])
    except (CorruptEntry, OSError):
        return None


def holdings(root: str) -> list[Holding]:
    """Everything in one folder of the cache, by digest.

    Names that no codevault writes are left out, and so are damaged records: `verify` tells of them.
    """
    snapshots: dict[str, dict[str, Snapshot]] = defaultdict(dict)
    written: dict[str, list[str]] = defaultdict(list)
    code: dict[str, list[str]] = defaultdict(list)
    for kind in ("snapshots", "requests"):
        for _, path in records(root, kind):
            found = read_record(path)
            if found is not None:
                snapshots[found.digest].setdefault(found.name, found)
                written[found.digest].append(path)
    for digest, path in code_packs(root):
        code[digest].append(path)
    pack, tree = packs(root), dict(trees(root))
    digests = {d for d in {*snapshots, *code, *pack, *tree} if DIGEST.fullmatch(d)}
    return [
        Holding(
            digest,
            tuple(snapshots[digest][name] for name in sorted(snapshots[digest])),
            tuple(written[digest]),
            tree.get(digest),
            tuple(code[digest]),
            pack.get(digest),
            last_use(
                [pack[digest]]
                if digest in pack
                else [*written[digest], *code[digest], *filter(None, [tree.get(digest)])]
            ),
        )
        for digest in sorted(digests)
    ]


def last_use(places: Iterable[str]) -> float:
    """The newest change of some entries, in seconds since the epoch; 0 where all are gone."""
    newest = 0.0
    for place in places:
        with contextlib.suppress(OSError):
            newest = max(newest, os.lstat(place).st_mtime)
    return newest


def pinned(roots: Sequence[str]) -> frozenset[str]:
    """The splint names that are pinned in any folder of the cache."""
    found: set[str] = set()
    for root in roots:
        top = os.path.join(root, paths.VERSION, "pins")
        for name in names_in(top):
            found.update([name] if NAME.fullmatch(name) else names_in(os.path.join(top, name)))
    return frozenset(name for name in found if NAME.fullmatch(name))
